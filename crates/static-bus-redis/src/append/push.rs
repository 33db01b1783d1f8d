//! Appends queries and replies to lists.

use std::time::Duration;

use redis::{Cmd, Value, cmd};

use super::{
    super::{keys, link::Link, presence::Presences, scripts, wire::to_blob},
    Destination,
};
use static_bus_remote::{
    time::millis,
    transport::{Kind, Record, Topic, TransportError},
};

/// The time for which replies are kept for a process that does not take them.
const REPLIES: Duration = Duration::from_secs(60);
/// The time for which queries without a later deadline are kept after the last one.
const QUERIES: Duration = Duration::from_secs(600);
/// The number of elements of a list after which expired ones are removed.
const LONG: i64 = 1024;
/// The largest number of elements in one command.
const ELEMENTS: usize = 1000;

/// Appends elements to a list, unless there are no receivers.
///
/// KEYS: the list, and for queries the presence of receivers. ARGV: 1 to append without receivers too, the time after
/// which the list is removed, elements. Reply: the length of the list, 0 if nothing was appended; the time until the
/// presence expires.
///
/// It is sent as a text, which is short: with its hash alone, a server that does not know it would fail in the
/// midst of a pipeline.
const SCRIPT: &str = "\
local expires = KEYS[2] and redis.call('PTTL', KEYS[2]) or 0 \
if expires == -2 and ARGV[1] == '0' then return {0, 0} end \
local length = redis.call('RPUSH', KEYS[1], unpack(ARGV, 3)) \
redis.call('PEXPIRE', KEYS[1], ARGV[2]) \
return {length, expires}";

/// The elements that a call appends to one list.
pub(super) struct Push {
    topic: Topic,
    list: String,
    /// The presence of receivers; of replies `None`.
    receivers: Option<String>,
    elements: Vec<Vec<u8>>,
    /// The time after which the list is removed.
    life: Duration,
}

impl Push {
    pub fn new(namespace: &str, topic: &Topic) -> Self {
        let is_query = topic.kind == Kind::Query;
        Push {
            topic: topic.clone(),
            list: keys::shared(namespace, topic),
            receivers: is_query.then(|| keys::receivers(namespace, topic)),
            elements: Vec::new(),
            life: if is_query { QUERIES } else { REPLIES },
        }
    }

    /// Returns whether a record of this topic may be added.
    pub fn takes(&self, topic: &Topic) -> bool {
        self.topic == *topic && self.elements.len() < ELEMENTS
    }

    pub fn add(&mut self, record: &Record, now: u64) {
        self.elements.push(to_blob(record, now));
        self.life = self.life.max(record.expires.unwrap_or_default());
    }

    /// The command that appends the elements, also without receivers if `is_forced`.
    pub fn command(&self, is_forced: bool) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(SCRIPT);
        command.arg(1 + usize::from(self.receivers.is_some()));
        command.arg(&self.list).arg(&self.receivers);
        command.arg(u8::from(is_forced)).arg(millis(self.life));
        command.arg(&self.elements);
        command
    }

    /// The result of the command with this answer. Appends the elements again if the server has lost the presence of
    /// receivers, and removes expired elements if the list has become long.
    pub async fn result(
        &self,
        to: &Destination<'_>,
        answer: Option<&Value>,
        now: u64,
    ) -> Result<(), TransportError> {
        let (link, server) = (to.link, to.link.server());
        let mut length = match answer {
            Some(Value::ServerError(e)) => return Err(server.error(&e.clone().into())),
            answer => self.length(answer, to.presences),
        };
        let is_lost = |key: &String| to.presences.is_lost(key);
        if length == Some(0) && self.receivers.as_ref().is_some_and(is_lost) {
            let answer = link.send(&self.command(true)).await?;
            length = self.length(Some(&answer), to.presences);
        }
        match length {
            None => Err(server.unexpected("EVAL")),
            Some(0) => Err(TransportError::no_receiver(
                server.address().clone(),
                &self.topic,
            )),
            Some(length) => {
                self.prune(link, length, now).await;
                Ok(())
            }
        }
    }

    /// The length of the list in an answer.
    fn length(&self, answer: Option<&Value>, presences: &Presences) -> Option<i64> {
        let Some(Value::Array(parts)) = answer else {
            return None;
        };
        let [Value::Int(length), Value::Int(expires)] = parts[..] else {
            return None;
        };
        if let (Some(key), Ok(expires @ 1..)) = (&self.receivers, u64::try_from(expires)) {
            presences.saw(key, Duration::from_millis(expires));
        }
        Some(length)
    }

    /// Removes expired elements of a list that has grown over a multiple of [`LONG`].
    async fn prune(&self, link: &Link, length: i64, now: u64) {
        let added = i64::try_from(self.elements.len()).expect("few elements");
        if length / LONG > (length - added) / LONG {
            let mut call = scripts::PRUNE.call([&self.list]);
            call.arg(now);
            // The records are appended, also if this fails.
            let _ = link.run(&scripts::PRUNE, &call).await;
        }
    }
}
