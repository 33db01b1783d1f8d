//! Appends queries and replies to lists.

use std::{sync::Arc, time::Duration};

use redis::{Pipeline, Value};

use super::{
    super::{
        keys,
        link::Link,
        presence::Presences,
        scripts,
        wire::{pack, to_blob},
    },
    Destination,
    batch::{add_wait, replicated},
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

/// Appends queries to a list, unless there are no receivers.
///
/// KEYS: the list, the presence of receivers. ARGV: the time after which the list is removed, elements. Reply: the length
/// of the list, 0 if nothing was appended; the time until the presence expires.
///
/// It costs the server many times as much as plain commands, and is used where this process does not know of a receiver.
/// It is sent as a text, which is short: with its hash alone, a server that does not know it would fail in the midst of a
/// pipeline.
const SCRIPT: &str = "\
local expires = redis.call('PTTL', KEYS[2]) \
if expires == -2 then return {0, 0} end \
local length = redis.call('RPUSH', KEYS[1], unpack(ARGV, 2)) \
redis.call('PEXPIRE', KEYS[1], ARGV[1]) \
return {length, expires}";

/// The elements that a call appends to one list.
pub(super) struct Push {
    topic: Topic,
    list: Arc<str>,
    /// The presence of receivers; of replies `None`.
    receivers: Option<Arc<str>>,
    /// `true` if the script looks for receivers, which may be none.
    is_checked: bool,
    /// `true` if the time until the presence expires is read.
    is_looked_at: bool,
    elements: Vec<Vec<u8>>,
    /// The time after which the list is removed.
    life: Duration,
}

impl Push {
    pub fn new(to: &Destination<'_>, link: &Link, list: Arc<str>, topic: &Topic) -> Self {
        let is_query = topic.kind == Kind::Query;
        let receivers = is_query.then(|| keys::receivers(to.namespace, topic).into());
        let is_unknown = |key: &Arc<str>| !may_have_receivers(link, to.presences, key);
        let is_stale = |key: &Arc<str>| to.presences.is_stale(key);
        Push {
            topic: topic.clone(),
            list,
            is_checked: receivers.as_ref().is_some_and(is_unknown),
            is_looked_at: receivers.as_ref().is_some_and(is_stale),
            receivers,
            elements: Vec::new(),
            life: if is_query { QUERIES } else { REPLIES },
        }
    }

    /// Returns whether a record of this topic may be added.
    pub fn takes(&self, topic: &Topic) -> bool {
        self.topic == *topic && self.elements.len() < ELEMENTS
    }

    pub fn add(&mut self, record: &Record, now: u64) {
        match self.topic.kind {
            // All of them go to one process.
            Kind::Reply => pack(&mut self.elements, record, now),
            _ => self.elements.push(to_blob(record, now)),
        }
        self.life = self.life.max(record.expires.unwrap_or_default());
    }

    /// Adds the commands that append the elements, and the key of each.
    pub fn add_to(&self, commands: &mut Pipeline, keys: &mut Vec<Arc<str>>) {
        let Some(receivers) = self.receivers.as_deref().filter(|_| self.is_checked) else {
            return self.add_unchecked(commands, keys);
        };
        let script = commands.cmd("EVAL").arg(SCRIPT).arg(2);
        let script = script.arg(&*self.list).arg(receivers);
        script.arg(millis(self.life)).arg(&self.elements);
        keys.push(self.list.clone());
    }

    /// Adds the commands that append the elements without receivers too, and the key of each.
    fn add_unchecked(&self, commands: &mut Pipeline, keys: &mut Vec<Arc<str>>) {
        commands.cmd("RPUSH").arg(&*self.list).arg(&self.elements);
        let life = millis(self.life);
        commands.cmd("PEXPIRE").arg(&*self.list).arg(life);
        keys.extend([self.list.clone(), self.list.clone()]);
        if let Some(receivers) = self.receivers.as_ref().filter(|_| self.is_looked_at) {
            commands.cmd("PTTL").arg(&**receivers);
            keys.push(receivers.clone());
        }
    }

    /// The result of the commands with these answers. Appends the elements again if the presence of receivers may be missing
    /// because of an outage, and removes expired elements if the list has become long.
    pub async fn result(
        &self,
        link: &Link,
        presences: &Presences,
        answers: &[Value],
        replicas: usize,
        now: u64,
    ) -> Result<(), TransportError> {
        let mut length = self.length(link, presences, answers)?;
        let may_be_lost = |key: &Arc<str>| may_have_receivers(link, presences, key);
        if length == 0 && self.receivers.as_ref().is_some_and(may_be_lost) {
            let mut commands = Pipeline::with_capacity(3);
            self.add_unchecked(&mut commands, &mut Vec::with_capacity(3));
            add_wait(&mut commands, link, replicas);
            let mut answers = link.send_all(&commands).await?;
            let waits = answers.split_off(answers.len() - usize::from(replicas > 0));
            length = self.length(link, presences, &answers)?;
            replicated(link, replicas, &waits)?;
        }
        if length == 0 {
            let address = link.server().address().clone();
            return Err(TransportError::no_receiver(address, &self.topic));
        }
        self.prune(link, length, now).await;
        Ok(())
    }

    /// The length of the list in the answers.
    fn length(
        &self,
        link: &Link,
        presences: &Presences,
        answers: &[Value],
    ) -> Result<i64, TransportError> {
        let server = link.server();
        for answer in answers {
            if let Value::ServerError(e) = answer {
                return Err(server.error(&e.clone().into()));
            }
        }
        let (length, expires) = match answers {
            [Value::Array(parts)] => match parts[..] {
                [Value::Int(length), Value::Int(expires)] => (length, expires),
                _ => return Err(server.unexpected("EVAL")),
            },
            [Value::Int(length), _, Value::Int(expires)] => (*length, *expires),
            [Value::Int(length), _] => (*length, 0),
            _ => return Err(server.unexpected("RPUSH")),
        };
        if let (Some(key), Ok(expires @ 1..)) = (&self.receivers, u64::try_from(expires)) {
            presences.saw(key, Duration::from_millis(expires));
        }
        Ok(length)
    }

    /// Removes expired elements of a list that has grown over a multiple of [`LONG`].
    async fn prune(&self, link: &Link, length: i64, now: u64) {
        let added = i64::try_from(self.elements.len()).expect("few elements");
        if length / LONG > (length - added) / LONG {
            let mut call = scripts::PRUNE.call([&*self.list]);
            call.arg(now);
            // The records are appended, also if this fails.
            let _ = link.run(&scripts::PRUNE, &call).await;
        }
    }
}

/// Returns whether queries may be appended although no presence of receivers is found: this process has seen it within
/// the grace time, or receivers may not have connected again after an outage.
fn may_have_receivers(link: &Link, presences: &Presences, key: &str) -> bool {
    presences.is_known(key) || !link.is_settled()
}
