//! Appends records: all of one call in one round trip.

use std::{collections::HashMap, time::Duration};

use redis::{Cmd, Pipeline, Value, cmd};

use super::{
    keys,
    link::Link,
    scripts,
    wire::{add_fields, to_blob},
};
use static_bus_remote::{
    time::{millis, now_millis},
    transport::{Kind, Record, Topic, TransportError},
};

/// For how long replies are kept for a process that is gone.
const REPLIES: Duration = Duration::from_secs(60);
/// For how long queries are kept when nobody adds any: longer than they are of use.
const QUERIES: Duration = Duration::from_secs(600);
/// A list that is longer than this is looked through for expired elements now and then.
const LONG: i64 = 1024;

type Partitions<'a> = HashMap<&'a Topic, Result<usize, TransportError>>;

/// The elements that one call adds to a list.
struct Elements {
    /// Which of the pipeline's commands adds them.
    command: usize,
    push: Cmd,
    count: i64,
    expires: Duration,
}

pub(super) async fn append(
    link: &Link,
    namespace: &str,
    records: &[(Topic, Record)],
    partitions: &Partitions<'_>,
) -> Vec<Result<(), TransportError>> {
    let now = now_millis();
    let mut commands = Pipeline::with_capacity(records.len());
    let mut lists = Vec::<(String, Kind, Elements)>::new();
    // For each record the command that appends it, or why there is none.
    let mut places = Vec::with_capacity(records.len());
    for (topic, record) in records {
        match stream(namespace, topic, record, partitions) {
            Some(Ok(key)) => {
                places.push(Ok(commands.len()));
                commands.add_command(add_entry(&key, topic, record, now));
            }
            Some(Err(e)) => places.push(Err(e)),
            None => {
                let key = keys::shared(namespace, topic);
                let list = lists.iter().position(|(k, ..)| *k == key);
                let list = list.unwrap_or_else(|| {
                    lists.push((
                        key.clone(),
                        topic.kind,
                        Elements::new(&key, usize::MAX - lists.len()),
                    ));
                    lists.len() - 1
                });
                let elements = &mut lists[list].2;
                elements.push.arg(to_blob(record, now));
                elements.count += 1;
                elements.expires = elements.expires.max(record.expires.unwrap_or_default());
                places.push(Ok(elements.command));
            }
        }
    }
    let mut at = HashMap::with_capacity(lists.len());
    for (key, kind, elements) in &mut lists {
        at.insert(elements.command, commands.len());
        commands.add_command(std::mem::take(&mut elements.push));
        let life = match kind {
            Kind::Reply => REPLIES,
            _ => QUERIES,
        };
        let life = millis(life.max(elements.expires));
        commands.cmd("PEXPIRE").arg(key).arg(life);
    }
    if commands.is_empty() {
        return places.into_iter().map(|place| place.map(drop)).collect();
    }
    let answers = match link.send_all(&commands).await {
        Ok(answers) => answers,
        Err(e) => return places.into_iter().map(|p| p.and(Err(e.clone()))).collect(),
    };
    for (key, _, elements) in &lists {
        if let Some(Value::Int(length)) = answers.get(at[&elements.command])
            && *length > LONG
            && length / LONG != (length - elements.count) / LONG
        {
            let mut call = scripts::PRUNE.call([key]);
            call.arg(now);
            // The records are appended, whatever becomes of this.
            let _ = link.run(&scripts::PRUNE, &call).await;
        }
    }
    let result = |place| {
        let command = at.get(&place).copied().unwrap_or(place);
        match answers.get(command) {
            Some(Value::ServerError(e)) => Err(link.server.error(&e.clone().into())),
            Some(_) => Ok(()),
            None => Err(link.server.unexpected("a pipeline")),
        }
    };
    places.into_iter().map(|p| p.and_then(result)).collect()
}

/// The stream that a record belongs to, unless it belongs to a list.
fn stream(
    namespace: &str,
    topic: &Topic,
    record: &Record,
    partitions: &Partitions<'_>,
) -> Option<Result<String, TransportError>> {
    match (topic.kind, &record.key) {
        (Kind::Query | Kind::Reply, _) => None,
        (Kind::Command | Kind::Event, Some(key)) => {
            let partitions = match partitions.get(topic)? {
                Ok(partitions) => *partitions,
                Err(e) => return Some(Err(e.clone())),
            };
            let number = keys::partition_of(key, partitions);
            Some(Ok(keys::partition(namespace, topic, number)))
        }
        _ => Some(Ok(keys::shared(namespace, topic))),
    }
}

fn add_entry(key: &str, topic: &Topic, record: &Record, now: u64) -> Cmd {
    let size = 80 + key.len() + record.headers.as_str().len() + record.body.len();
    let mut command = Cmd::with_capacity(12, size);
    command.arg("XADD").arg(key);
    if topic.kind == Kind::Event {
        // An event that no group waits for is dropped.
        command.arg("NOMKSTREAM");
    }
    command.arg("*");
    add_fields(&mut command, record, now);
    command
}

impl Elements {
    fn new(key: &str, command: usize) -> Self {
        let mut push = cmd("RPUSH");
        push.arg(key);
        Elements {
            command,
            push,
            count: 0,
            expires: Duration::ZERO,
        }
    }
}
