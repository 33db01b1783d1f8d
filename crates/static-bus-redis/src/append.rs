//! Appends records: all records of one call in one round trip, or in several where they are large.

mod push;

use std::{collections::HashMap, time::Duration};

use redis::{Cmd, Pipeline, Value};

use self::push::Push;
use super::{
    audiences::{Audiences, RETURN},
    budget::BYTES,
    keys,
    link::Link,
    presence::Presences,
    wire::{add_fields, size},
};
use static_bus_remote::{
    time::{millis, now_millis},
    transport::{DEAD_LETTER_HEADROOM, Kind, Record, Topic, TransportError, TransportErrorKind},
};

type Partitions<'a> = HashMap<&'a Topic, Result<usize, TransportError>>;

/// The commands of one call.
#[derive(Default)]
struct Batch {
    lists: Vec<Push>,
    entries: Vec<Cmd>,
}

/// The command of a batch that appends a record.
#[derive(Clone, Copy)]
enum Place {
    /// The command of the list with this number.
    Element(usize),
    /// The `XADD` with this number.
    Entry(usize),
}

/// The server, and what is known of its topics.
pub(super) struct Destination<'a> {
    pub link: &'a Link,
    pub namespace: &'a str,
    pub partitions: Partitions<'a>,
    pub audiences: &'a Audiences,
    pub presences: &'a Presences,
    /// The largest size of a record.
    pub max_record: usize,
    /// The number of replicas that must have a record.
    pub replicas: usize,
}

pub(super) async fn append(
    to: &Destination<'_>,
    records: &[(Topic, Record)],
) -> Vec<Result<(), TransportError>> {
    let mut results = Vec::with_capacity(records.len());
    while let Some(rest) = records.get(results.len()..).filter(|rest| !rest.is_empty()) {
        let (count, bytes) = fitting(rest);
        let limit = to.link.server().deadline_of(bytes);
        match append_some(to, &rest[..count], limit).await {
            Ok(some) => results.extend(some),
            // The others are not tried: each call would wait as long again.
            Err(e) if e.kind().is_transient() => results.extend(vec![Err(e); rest.len()]),
            Err(e) => results.extend(vec![Err(e); count]),
        }
    }
    results
}

/// The number of records that are sent at once, and their bytes.
fn fitting(records: &[(Topic, Record)]) -> (usize, usize) {
    let mut bytes = 0;
    let fits = |(_, record): &&(Topic, Record)| {
        let is_first = bytes == 0;
        let with = bytes + size(record);
        let fits = is_first || with <= BYTES;
        if fits {
            bytes = with.max(1);
        }
        fits
    };
    let count = records.iter().take_while(fits).count();
    (count, bytes)
}

/// Appends records in one round trip. The outer error is that of all of them.
async fn append_some(
    to: &Destination<'_>,
    records: &[(Topic, Record)],
    limit: Duration,
) -> Result<Vec<Result<(), TransportError>>, TransportError> {
    let (link, namespace, partitions) = (to.link, to.namespace, &to.partitions);
    let now = now_millis();
    let mut batch = Batch::default();
    let place = |(topic, record): &(Topic, Record)| {
        check_size(to, topic, record)?;
        match topic.kind {
            Kind::Query | Kind::Reply => Ok(batch.push(namespace, topic, record, now)),
            _ => {
                let key = stream(namespace, topic, record, partitions)?;
                Ok(batch.add(&key, topic, record, now))
            }
        }
    };
    let places: Vec<Result<Place, TransportError>> = records.iter().map(place).collect();
    let mut commands = batch.commands();
    if commands.is_empty() {
        return Ok(places.into_iter().map(|place| place.map(drop)).collect());
    }
    if to.replicas > 0 {
        let time = millis(link.server().deadline() / 2).max(1);
        commands.cmd("WAIT").arg(to.replicas).arg(time);
    }
    let answers = link.send_all_within(&commands, limit).await?;
    let replicated = match (to.replicas, answers.last()) {
        (0, _) => Ok(()),
        (_, Some(Value::ServerError(e))) => Err(link.server().error(&e.clone().into())),
        (wanted, Some(Value::Int(n))) if usize::try_from(*n).is_ok_and(|n| n >= wanted) => Ok(()),
        (wanted, _) => Err(not_replicated(link, wanted)),
    };
    let mut lists = Vec::with_capacity(batch.lists.len());
    for (number, list) in batch.lists.iter().enumerate() {
        lists.push(list.result(to, answers.get(number), now).await);
    }
    let entry = |number, topic: &Topic| match answers.get(lists.len() + number) {
        Some(Value::ServerError(e)) => Err(link.server().error(&e.clone().into())),
        Some(answer) if topic.kind == Kind::Event => {
            match to.audiences.has_vanished(topic, *answer != Value::Nil) {
                true => Err(vanished(link, topic)),
                false => Ok(()),
            }
        }
        Some(_) => Ok(()),
        None => Err(link.server().unexpected("a pipeline")),
    };
    let results = places.into_iter().zip(records).map(|(place, (topic, _))| {
        match place? {
            Place::Element(list) => lists[list].clone()?,
            Place::Entry(number) => entry(number, topic)?,
        }
        replicated.clone()
    });
    Ok(results.collect())
}

/// The error of records that too few replicas have.
fn not_replicated(link: &Link, wanted: usize) -> TransportError {
    let reason = format!(
        "fewer than {wanted} replicas have confirmed the record, and a failover may lose it: check the replicas, and \
         send it again"
    );
    let kind = TransportErrorKind::Unreachable;
    TransportError::new(kind, link.server().address().clone(), reason)
}

/// # Errors
/// If the record is larger than the limit.
fn check_size(to: &Destination<'_>, topic: &Topic, record: &Record) -> Result<(), TransportError> {
    let limit = match topic.kind {
        Kind::DeadLetter => to.max_record.saturating_add(DEAD_LETTER_HEADROOM),
        _ => to.max_record,
    };
    let size = size(record);
    if size <= limit {
        return Ok(());
    }
    let reason = format!(
        "the record of {topic} has {size} bytes, and the limit is {limit}: send less, or raise `max_record` and \
         the server's `proto-max-bulk-len`"
    );
    let address = to.link.server().address().clone();
    Err(TransportError::new(
        TransportErrorKind::TooLarge,
        address,
        reason,
    ))
}

/// The error of an event whose stream has vanished, and its groups with it.
fn vanished(link: &Link, topic: &Topic) -> TransportError {
    let reason = format!(
        "the stream of {topic} is gone: the server was emptied, or the stream deleted. Publish again: running \
         subscribers create it within a second, and without any in {RETURN:?} the event has no subscribers"
    );
    let kind = TransportErrorKind::Unreachable;
    TransportError::new(kind, link.server().address().clone(), reason)
}

/// The stream of a record that is not a query or reply.
fn stream(
    namespace: &str,
    topic: &Topic,
    record: &Record,
    partitions: &Partitions<'_>,
) -> Result<String, TransportError> {
    match (&record.key, partitions.get(topic)) {
        (Some(key), Some(partitions)) => {
            let number = keys::partition_of(key, partitions.clone()?);
            Ok(keys::partition(namespace, topic, number))
        }
        _ => Ok(keys::shared(namespace, topic)),
    }
}

impl Batch {
    /// Appends a record to a list.
    fn push(&mut self, namespace: &str, topic: &Topic, record: &Record, now: u64) -> Place {
        let number = self.lists.iter().position(|list| list.takes(topic));
        let number = number.unwrap_or_else(|| {
            self.lists.push(Push::new(namespace, topic));
            self.lists.len() - 1
        });
        self.lists[number].add(record, now);
        Place::Element(number)
    }

    /// Appends a record to a stream.
    fn add(&mut self, key: &str, topic: &Topic, record: &Record, now: u64) -> Place {
        let size = 80 + key.len() + record.headers.as_str().len() + record.body.len();
        let mut command = Cmd::with_capacity(12, size);
        command.arg("XADD").arg(key);
        if topic.kind == Kind::Event {
            // An event without groups is dropped.
            command.arg("NOMKSTREAM");
        }
        command.arg("*");
        add_fields(&mut command, record, now);
        self.entries.push(command);
        Place::Entry(self.entries.len() - 1)
    }

    /// The commands: one for each list, then `XADD` of each entry.
    fn commands(&mut self) -> Pipeline {
        let mut commands = Pipeline::with_capacity(self.lists.len() + self.entries.len());
        for list in &self.lists {
            commands.add_command(list.command(false));
        }
        for entry in self.entries.drain(..) {
            commands.add_command(entry);
        }
        commands
    }
}
