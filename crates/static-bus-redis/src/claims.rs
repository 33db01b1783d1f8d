//! Deduplication: keys are claimed, and later confirmed, a batch at a time in one transaction.
//!
//! A claim is a member of a sorted set, its score the time when it ends. A key that was handled is in
//! one of two sets, each for a stretch of time as long as keys are remembered for at least; sets that
//! are too old go as a whole. Transactions of variadic commands cost the server a third of what a
//! script does; the script is for the rare cases that they leave undecided.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use redis::{Pipeline, Value};

use super::{
    scripts,
    stream::{Group, Places},
};
use static_bus_remote::{
    time::millis,
    transport::{Claim, TransportError},
};

/// A member that is too long for a sorted set of the compact encoding, which takes four times as long
/// to add to. It comes first, and stays.
const LARGE: &str = "(this name is longer than the sixty-four bytes that fit into a compact set)";

impl Group {
    pub async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        if self.stretch == 0 || keys.is_empty() {
            return Ok(vec![Claim::Granted; keys.len()]);
        }
        let lease = millis(self.subscription.lease);
        let now = self.state().server_time();
        let ends = now + lease;
        let handled = self.handled(now);
        let mut commands = transaction(handled.len() + 3);
        commands.cmd("ZMSCORE").arg(&self.keys.claims);
        add(&mut commands, keys.iter());
        for set in &handled {
            commands.cmd("SMISMEMBER").arg(set);
            add(&mut commands, keys.iter());
        }
        commands.cmd("ZADD").arg(&self.keys.claims).arg("NX");
        commands.arg("inf").arg(LARGE);
        for key in keys {
            commands.arg(ends).arg(&**key);
        }
        commands.cmd("PEXPIRE").arg(&self.keys.claims);
        commands.arg(lease * 2);
        let mut answers = self.commit(commands).await?.into_iter();
        let unexpected = || self.link.server.unexpected("a claim");
        let scores = array(answers.next(), keys.len()).ok_or_else(unexpected)?;
        let mut done = vec![false; keys.len()];
        for answer in answers.by_ref().take(handled.len()) {
            let found = array(Some(answer), keys.len()).ok_or_else(unexpected)?;
            for (done, found) in done.iter_mut().zip(found) {
                *done |= found == Value::Int(1);
            }
        }
        let mut claims = Vec::with_capacity(keys.len());
        let (mut undo, mut ended, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for ((key, score), done) in keys.iter().zip(scores).zip(done) {
            let claim = score_in(&score);
            let first = seen.insert(key);
            claims.push(match claim {
                _ if done => Claim::Done,
                _ if !first => Claim::Held,
                Some(ends) if ends > now => Claim::Held,
                Some(_) => {
                    ended.push(key);
                    Claim::Held
                }
                None => Claim::Granted,
            });
            if done && first && claim.is_none() {
                undo.push(key);
            }
        }
        if !undo.is_empty() || !ended.is_empty() {
            let decided = self.decide(&handled, ends, now, &undo, &ended).await?;
            let mut seen = HashSet::new();
            for (key, claim) in keys.iter().zip(&mut claims) {
                if let Some(decided) = decided.get(key)
                    && seen.insert(key)
                {
                    *claim = *decided;
                }
            }
        }
        let mut state = self.state();
        for (key, claim) in keys.iter().zip(&claims) {
            if *claim == Claim::Granted {
                state.claims.insert(key.clone(), ends);
            }
        }
        Ok(claims)
    }

    /// Confirms keys and acknowledges entries, both or neither.
    pub async fn acknowledge<'a>(
        &self,
        places: &Places,
        claims: impl Iterator<Item = &'a Arc<str>> + Clone,
    ) -> Result<(), TransportError> {
        let mut commands = transaction(places.len() + 3);
        if self.stretch > 0 && claims.clone().next().is_some() {
            let now = self.state().server_time();
            let set = format!("{}{}", self.keys.done, now / self.stretch);
            commands.cmd("SADD").arg(&set);
            add(&mut commands, claims.clone());
            commands
                .cmd("PEXPIRE")
                .arg(set)
                .arg(self.stretch * 2 + 60_000);
            // If another holds one by now: the key is handled, and its claim of no use.
            commands.cmd("ZREM").arg(&self.keys.claims);
            add(&mut commands, claims);
        }
        for (stream, ids) in places {
            commands.cmd("XACK").arg(&self.keys.streams[*stream]);
            commands.arg(&*self.subscription.group).arg(ids);
        }
        match commands.len() {
            1 => Ok(()),
            _ => self.commit(commands).await.map(drop),
        }
    }

    /// Decides on keys whose claim had ended, and gives up those that were claimed for nothing.
    async fn decide<'a>(
        &self,
        handled: &[String],
        ends: u64,
        now: u64,
        undo: &[&Arc<str>],
        ended: &[&'a Arc<str>],
    ) -> Result<HashMap<&'a Arc<str>, Claim>, TransportError> {
        let keys: Vec<_> = std::iter::once(&self.keys.claims).chain(handled).collect();
        let mut call = scripts::CLAIM.call(keys.into_iter());
        call.arg(ends).arg(now).arg(undo.len());
        for key in undo.iter().chain(ended) {
            call.arg(&***key);
        }
        let answer = self.link.run(&scripts::CLAIM, &call).await?;
        let Value::BulkString(digits) = answer else {
            return Err(self.link.server.unexpected("a claim"));
        };
        let claim = |digit: &u8| match digit {
            b'0' => Claim::Granted,
            b'1' => Claim::Held,
            _ => Claim::Done,
        };
        Ok(ended
            .iter()
            .copied()
            .zip(digits.iter().map(claim))
            .collect())
    }

    /// The sets in which a handled key may be.
    fn handled(&self, now: u64) -> Vec<String> {
        // Members know the server's time to within some milliseconds.
        let margin = (self.stretch / 4).min(1000);
        let last = (now + margin) / self.stretch;
        let first = (now / self.stretch).saturating_sub(1);
        (first..=last)
            .rev()
            .map(|n| format!("{}{n}", self.keys.done))
            .collect()
    }

    /// Runs a transaction: all of it, with nothing between, or nothing. Gives the answers.
    async fn commit(&self, mut commands: Pipeline) -> Result<Vec<Value>, TransportError> {
        let length = commands.len() - 1;
        commands.cmd("EXEC");
        let server = &self.link.server;
        let mut answers = self.link.send_all(&commands).await?;
        let last = answers.pop();
        // Why a command was refused is more to the point than that the transaction was.
        for answer in answers {
            answer.extract_error().map_err(|e| server.error(&e))?;
        }
        let answers = last.unwrap_or_default();
        let answers = answers.extract_error().map_err(|e| server.error(&e))?;
        array(Some(answers), length).ok_or_else(|| server.unexpected("EXEC"))
    }
}

fn transaction(length: usize) -> Pipeline {
    let mut commands = Pipeline::with_capacity(length + 2);
    commands.cmd("MULTI");
    commands
}

fn add<'a>(commands: &mut Pipeline, keys: impl Iterator<Item = &'a Arc<str>>) {
    for key in keys {
        commands.arg(&**key);
    }
}

fn array(answer: Option<Value>, length: usize) -> Option<Vec<Value>> {
    match answer {
        Some(Value::Array(values)) if values.len() == length => Some(values),
        _ => None,
    }
}

fn score_in(value: &Value) -> Option<u64> {
    match value {
        Value::Double(score) => Some(*score as u64),
        Value::BulkString(text) => str::from_utf8(text)
            .ok()?
            .parse::<f64>()
            .ok()
            .map(|s| s as u64),
        _ => None,
    }
}
