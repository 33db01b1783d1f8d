//! Appends records: all records of one call in one round trip, or in several where they are large or the slots of a cluster
//! differ.

mod batch;
mod push;
mod schedule;

use std::{collections::HashMap, sync::Arc};

use futures_util::future::join_all;
use redis::Value;

use self::batch::{Batch, Command, Place};
use super::{
    audiences::{Audiences, RETURN},
    budget::BYTES,
    keys,
    link::Link,
    presence::Presences,
    servers::Servers,
    wire::size,
};
use static_bus_remote::{
    time::now_millis,
    transport::{DEAD_LETTER_HEADROOM, Kind, Record, Topic, TransportError, TransportErrorKind},
};

type Partitions<'a> = HashMap<&'a Topic, Result<usize, TransportError>>;

/// The lists and streams of a call, each formatted once: of a topic the shared one, then the partitions.
#[derive(Default)]
struct Names<'a>(Vec<(&'a Topic, Vec<Option<Name>>)>);

/// A list or stream, its slot in a cluster, and its number among the streams of its topic.
#[derive(Clone)]
struct Name {
    key: Arc<str>,
    slot: u16,
    number: usize,
}

/// The servers, and what is known of their topics.
pub(super) struct Destination<'a> {
    pub servers: &'a Arc<Servers>,
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
    let mut failed = HashMap::new();
    while let Some(rest) = records.get(results.len()..).filter(|rest| !rest.is_empty()) {
        let (count, bytes) = fitting(rest);
        results.extend(append_some(to, &rest[..count], bytes, &mut failed).await);
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

/// Appends records in one round trip, or in one for each slot of a cluster. Slots without an answer are added to those
/// that have failed: each further call would wait as long again.
async fn append_some(
    to: &Destination<'_>,
    records: &[(Topic, Record)],
    bytes: usize,
    failed: &mut HashMap<u16, TransportError>,
) -> Vec<Result<(), TransportError>> {
    let now = now_millis();
    let (mut batches, mut names) = (Vec::new(), Names::default());
    let mut places = Vec::<Result<Place, TransportError>>::with_capacity(records.len());
    for (topic, record) in records {
        let name = check(to, topic, record).and_then(|()| names.of(to, topic, record));
        places.push(match name {
            Ok(name) => match failed.get(&name.slot) {
                Some(error) => Err(error.clone()),
                None => Ok(Batch::add_to(&mut batches, to, name, topic, record, now)),
            },
            Err(error) => Err(error),
        });
    }
    let sending = batches.iter_mut();
    let answers = join_all(sending.map(|batch| batch.send(to, bytes, now))).await;
    for (batch, answers) in batches.iter().zip(&answers) {
        if let Some(error) = answers.as_ref().err().filter(|e| e.kind().is_transient()) {
            failed.insert(batch.slot, error.clone());
        }
    }
    let results = places
        .into_iter()
        .zip(records)
        .map(|(place, (topic, record))| {
            let Place { batch, command } = place?;
            let answers = answers[batch].as_ref().map_err(Clone::clone)?;
            let link = &batches[batch].link;
            match command {
                Command::Element(list) => answers.lists[list].clone()?,
                Command::Entry(number) => match answers.entries.get(number) {
                    Some(Value::ServerError(e)) => {
                        return Err(link.server().error(&e.clone().into()));
                    }
                    Some(answer) if topic.kind == Kind::Event && record.due.is_none() => {
                        if to.audiences.has_vanished(topic, *answer != Value::Nil) {
                            return Err(vanished(link, topic));
                        }
                    }
                    Some(_) => {}
                    None => return Err(link.server().unexpected("a pipeline")),
                },
            }
            answers.replicated.clone()
        });
    results.collect()
}

/// # Errors
/// If the record is larger than the limit, or cannot be due later.
fn check(to: &Destination<'_>, topic: &Topic, record: &Record) -> Result<(), TransportError> {
    if record.due.is_some() && !keys::is_partitioned(topic) {
        let address = to.servers.address().clone();
        return Err(TransportError::never_due(address, topic));
    }
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
    let address = to.servers.address().clone();
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

impl<'a> Names<'a> {
    /// The list or the stream of a record.
    fn of(
        &mut self,
        to: &Destination<'_>,
        topic: &'a Topic,
        record: &Record,
    ) -> Result<Name, TransportError> {
        let partition = match (&record.key, to.partitions.get(topic)) {
            (Some(key), Some(partitions)) => Some(keys::partition_of(key, partitions.clone()?)),
            _ => None,
        };
        // A call has few topics.
        let known = self.0.iter().position(|(known, _)| *known == topic);
        let known = known.unwrap_or_else(|| {
            self.0.push((topic, Vec::new()));
            self.0.len() - 1
        });
        let (names, number) = (&mut self.0[known].1, partition.map_or(0, |n| n + 1));
        if names.len() <= number {
            names.resize(number + 1, None);
        }
        let name = names[number].get_or_insert_with(|| {
            let key = match partition {
                Some(partition) => keys::partition(to.namespace, topic, partition),
                None => keys::shared(to.namespace, topic),
            };
            let slot = to.servers.slot(&key);
            let key = key.into();
            Name { key, slot, number }
        });
        Ok(name.clone())
    }
}
