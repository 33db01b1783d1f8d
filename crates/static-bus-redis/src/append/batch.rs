//! The commands of one call to one server.

use std::sync::Arc;

use redis::{Cmd, Pipeline, Value};

use super::{
    super::{keys, link::Link, wire::add_fields},
    Destination, Name,
    push::Push,
    schedule,
};
use static_bus_remote::{
    time::millis,
    transport::{Kind, Record, Topic, TransportError, TransportErrorKind},
};

/// The commands of one call whose keys are in one slot.
pub(super) struct Batch {
    pub slot: u16,
    pub link: Link,
    lists: Vec<Push>,
    entries: Vec<Cmd>,
    /// The keys of the entries: their streams, or the sets of due times.
    streams: Vec<Arc<str>>,
}

/// The answers to a batch.
pub(super) struct Answers {
    /// The result of each list.
    pub lists: Vec<Result<(), TransportError>>,
    pub entries: Vec<Value>,
    pub replicated: Result<(), TransportError>,
}

/// The command that appends a record.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub batch: usize,
    pub command: Command,
}

#[derive(Clone, Copy)]
pub(super) enum Command {
    /// That of the list with this number.
    Element(usize),
    /// That of the entry with this number.
    Entry(usize),
}

impl Batch {
    /// Adds the command of a record to the batch of its slot.
    pub fn add_to(
        batches: &mut Vec<Self>,
        to: &Destination<'_>,
        Name { key, slot, number }: Name,
        topic: &Topic,
        record: &Record,
        now: u64,
    ) -> Place {
        let batch = batches.iter().position(|batch| batch.slot == slot);
        let batch = batch.unwrap_or_else(|| {
            batches.push(Batch {
                slot,
                link: to.servers.link(&key),
                lists: Vec::new(),
                entries: Vec::new(),
                streams: Vec::new(),
            });
            batches.len() - 1
        });
        let command = match topic.kind {
            Kind::Query | Kind::Reply => batches[batch].push(to, key, topic, record, now),
            _ => match &record.due {
                Some(due) => {
                    let (set, of) = (keys::due(to.namespace, topic), to.namespace);
                    let command = schedule::command(of, topic, number, record, due, now);
                    batches[batch].add(set.into(), command)
                }
                None => {
                    let command = entry(&key, topic, record, now);
                    batches[batch].add(key, command)
                }
            },
        };
        Place { batch, command }
    }

    /// Appends a record to a list.
    fn push(
        &mut self,
        to: &Destination<'_>,
        list: Arc<str>,
        topic: &Topic,
        record: &Record,
        now: u64,
    ) -> Command {
        let number = self.lists.iter().position(|list| list.takes(topic));
        let number = number.unwrap_or_else(|| {
            self.lists.push(Push::new(to, &self.link, list, topic));
            self.lists.len() - 1
        });
        self.lists[number].add(record, now);
        Command::Element(number)
    }

    /// Adds the command of an entry. Of commands with one key, the later ones are run after the earlier ones.
    fn add(&mut self, key: Arc<str>, command: Cmd) -> Command {
        self.entries.push(command);
        self.streams.push(key);
        Command::Entry(self.entries.len() - 1)
    }

    /// Sends the commands: those of each list, `XADD` of each entry, and `WAIT` if replicas must have them.
    pub async fn send(
        &mut self,
        to: &Destination<'_>,
        bytes: usize,
        now: u64,
    ) -> Result<Answers, TransportError> {
        let server = self.link.server();
        let mut commands = Pipeline::with_capacity(3 * self.lists.len() + self.entries.len() + 1);
        let mut keys = Vec::with_capacity(3 * self.lists.len() + self.streams.len());
        let mut ends = Vec::with_capacity(self.lists.len());
        for list in &self.lists {
            list.add_to(&mut commands, &mut keys);
            ends.push(keys.len());
        }
        for entry in self.entries.drain(..) {
            commands.add_command(entry);
        }
        keys.append(&mut self.streams);
        add_wait(&mut commands, &self.link, to.replicas);
        let limit = server.deadline_of(bytes);
        let mut answers = self.link.send_each(commands, &keys, limit).await?;
        let waits = answers.split_off(keys.len().min(answers.len()));
        let replicated = replicated(&self.link, to.replicas, &waits);
        let of_lists = ends.last().copied().unwrap_or_default();
        let entries = answers.split_off(of_lists.min(answers.len()));
        let mut lists = Vec::with_capacity(self.lists.len());
        let mut begin = 0;
        for (list, end) in self.lists.iter().zip(ends) {
            let answers = answers.get(begin..end).unwrap_or_default();
            lists.push(
                list.result(&self.link, to.presences, answers, to.replicas, now)
                    .await,
            );
            begin = end;
        }
        Ok(Answers {
            lists,
            entries,
            replicated,
        })
    }
}

/// The command that appends a record to a stream.
fn entry(stream: &str, topic: &Topic, record: &Record, now: u64) -> Cmd {
    let size = 80 + stream.len() + record.headers.as_str().len() + record.body.len();
    let mut command = Cmd::with_capacity(12, size);
    command.arg("XADD").arg(stream);
    if topic.kind == Kind::Event {
        // An event without groups is dropped.
        command.arg("NOMKSTREAM");
    }
    command.arg("*");
    add_fields(&mut command, record, now);
    command
}

/// Adds `WAIT`, if replicas must have the records.
pub(super) fn add_wait(commands: &mut Pipeline, link: &Link, replicas: usize) {
    if replicas > 0 {
        let time = millis(link.server().deadline() / 2).max(1);
        commands.cmd("WAIT").arg(replicas).arg(time);
    }
}

/// The result of `WAIT`, for each time that it was sent.
pub(super) fn replicated(
    link: &Link,
    replicas: usize,
    waits: &[Value],
) -> Result<(), TransportError> {
    if replicas > 0 && waits.is_empty() {
        return Err(link.server().unexpected("WAIT"));
    }
    waits.iter().try_for_each(|wait| match wait {
        Value::ServerError(e) => Err(link.server().error(&e.clone().into())),
        Value::Int(n) if usize::try_from(*n).is_ok_and(|n| n >= replicas) => Ok(()),
        _ => Err(not_replicated(link, replicas)),
    })
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
