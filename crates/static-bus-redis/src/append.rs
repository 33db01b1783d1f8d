//! Appends records: all records of one call in one round trip, or in several where they are large.

use std::{collections::HashMap, time::Duration};

use redis::{Cmd, Pipeline, Value, cmd};

use super::{
    audiences::{Audiences, RETURN},
    budget::BYTES,
    keys,
    link::Link,
    scripts,
    wire::{add_fields, size, to_blob},
};
use static_bus_remote::{
    time::{millis, now_millis},
    transport::{Kind, Record, Topic, TransportError, TransportErrorKind},
};

/// The time for which replies are kept for a process that does not take them.
const REPLIES: Duration = Duration::from_secs(60);
/// The time for which queries without a later deadline are kept after the last one.
const QUERIES: Duration = Duration::from_secs(600);
/// The number of elements of a list after which expired ones are removed.
const LONG: i64 = 1024;

type Partitions<'a> = HashMap<&'a Topic, Result<usize, TransportError>>;

/// The commands of one call.
#[derive(Default)]
struct Batch {
    lists: Vec<Push>,
    entries: Vec<Cmd>,
}

/// The elements that a call appends to one list.
struct Push {
    key: String,
    command: Cmd,
    count: i64,
    /// The time after which the list is removed.
    life: Duration,
}

/// The command of a batch that appends a record.
#[derive(Clone, Copy)]
enum Place {
    /// The `RPUSH` of the list with this number.
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
    let place = |(topic, record): &(Topic, Record)| match topic.kind {
        Kind::Query | Kind::Reply => {
            Ok(batch.push(keys::shared(namespace, topic), topic, record, now))
        }
        _ => {
            let key = stream(namespace, topic, record, partitions)?;
            Ok(batch.add(&key, topic, record, now))
        }
    };
    let places: Vec<Result<Place, TransportError>> = records.iter().map(place).collect();
    let commands = batch.commands();
    if commands.is_empty() {
        return Ok(places.into_iter().map(|place| place.map(drop)).collect());
    }
    let answers = link.send_all_within(&commands, limit).await?;
    batch.prune(link, &answers, now).await;
    let result =
        |(place, (topic, _)): (Result<Place, TransportError>, &(Topic, Record))| match answers
            .get(batch.command(place?))
        {
            Some(Value::ServerError(e)) => Err(link.server().error(&e.clone().into())),
            Some(answer) if topic.kind == Kind::Event => {
                let exists = *answer != Value::Nil;
                match to.audiences.has_vanished(topic, exists) {
                    true => Err(vanished(link, topic)),
                    false => Ok(()),
                }
            }
            Some(_) => Ok(()),
            None => Err(link.server().unexpected("a pipeline")),
        };
    Ok(places.into_iter().zip(records).map(result).collect())
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
    fn push(&mut self, key: String, topic: &Topic, record: &Record, now: u64) -> Place {
        let number = self.lists.iter().position(|list| list.key == key);
        let number = number.unwrap_or_else(|| {
            self.lists.push(Push::new(key, topic));
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

    /// The commands: `RPUSH` and `PEXPIRE` of each list, then `XADD` of each entry.
    fn commands(&mut self) -> Pipeline {
        let mut commands = Pipeline::with_capacity(2 * self.lists.len() + self.entries.len());
        for list in &mut self.lists {
            commands.add_command(std::mem::take(&mut list.command));
            commands
                .cmd("PEXPIRE")
                .arg(&list.key)
                .arg(millis(list.life));
        }
        for entry in self.entries.drain(..) {
            commands.add_command(entry);
        }
        commands
    }

    /// The number of the command of a place.
    fn command(&self, place: Place) -> usize {
        match place {
            Place::Element(list) => 2 * list,
            Place::Entry(entry) => 2 * self.lists.len() + entry,
        }
    }

    /// Removes expired elements of lists that have grown over a multiple of [`LONG`].
    async fn prune(&self, link: &Link, answers: &[Value], now: u64) {
        for (number, list) in self.lists.iter().enumerate() {
            let Some(Value::Int(length)) = answers.get(self.command(Place::Element(number))) else {
                continue;
            };
            if length / LONG > (length - list.count) / LONG {
                let mut call = scripts::PRUNE.call([&list.key]);
                call.arg(now);
                // The records are appended, also if this fails.
                let _ = link.run(&scripts::PRUNE, &call).await;
            }
        }
    }
}

impl Push {
    fn new(key: String, topic: &Topic) -> Self {
        let mut command = cmd("RPUSH");
        command.arg(&key);
        let life = match topic.kind {
            Kind::Reply => REPLIES,
            _ => QUERIES,
        };
        Push {
            key,
            command,
            count: 0,
            life,
        }
    }

    fn add(&mut self, record: &Record, now: u64) {
        self.command.arg(to_blob(record, now));
        self.count += 1;
        self.life = self.life.max(record.expires.unwrap_or_default());
    }
}
