//! Reads of new entries whose sizes are large or unknown: a script bounds the bytes of all streams together.

use std::time::Duration;

use redis::RedisResult;
use tokio::time::{Instant, timeout};

use super::super::{
    membership::Membership,
    replies::{NewEntries, entries_by_stream},
    request::{Request as _, Script},
    scripts,
    server::{Connection, late},
    wire::size,
};

/// The largest number of entries of one read. Other clients of the server wait for the script.
const ENTRIES: usize = 100;

/// The reads of one member.
#[derive(Default)]
pub(super) struct LargeReads {
    /// The number of reads.
    number: usize,
    /// The time at which no stream had new entries.
    empty_at: Option<Instant>,
}

impl LargeReads {
    /// Notes whether a read of all streams has found no new entries.
    pub fn found(&mut self, is_empty: bool) {
        self.empty_at = is_empty.then(Instant::now);
    }

    /// Reads up to `max` new entries of these streams without waiting, if they may be large and there may be some.
    pub async fn read(
        &mut self,
        member: &Membership,
        connection: &mut Connection,
        streams: &[usize],
        max: usize,
    ) -> RedisResult<NewEntries> {
        let budget = member.budget();
        let is_recent = |at: Instant| at.elapsed() < Duration::from_millis(20);
        let are_small = budget.share(streams.len(), max).is_some();
        if are_small || self.empty_at.is_some_and(is_recent) {
            return Ok(NewEntries::new());
        }
        // Each is the first in turn: the bytes may be used up before the last.
        let (last, first) = streams.split_at(self.number % streams.len());
        self.number += 1;
        let keys = member.keys().streams();
        let mut call = scripts::READ.call(first.iter().chain(last).map(|n| &keys[*n]));
        call.arg(member.group()).arg(member.name());
        call.arg(max.min(ENTRIES)).arg(budget.bytes());
        let (begun, limit) = (Instant::now(), budget.limit(member.server().deadline()));
        let script = Script(&scripts::READ, &call);
        let Ok(answer) = timeout(limit, script.send_on(connection, false)).await else {
            budget.unanswered();
            return Err(late(limit));
        };
        let read = entries_by_stream(answer??);
        self.found(read.is_empty());
        let sizes = read.iter().flat_map(|(_, entries)| entries);
        let sizes = sizes.map(|entry| size(&entry.record));
        budget.answered(sizes, begun.elapsed(), limit);
        Ok(read)
    }
}
