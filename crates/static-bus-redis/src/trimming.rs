//! The removal of entries that every group of a topic has read and acknowledged.

use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, sleep};

use super::{membership::Membership, scripts};
use static_bus_remote::{time::millis, transport::TransportError};

/// The interval in which one of the members removes entries.
pub(super) const TRIM: Duration = Duration::from_secs(1);
/// The time for which an entry has been the lowest that is pending, after which those behind it are removed one by one.
const STUCK: Duration = Duration::from_secs(5);

/// The removal of entries, and what this member knows of each stream.
pub(super) struct Trimming {
    streams: Vec<Stream>,
}

struct Stream {
    /// The lowest entry that is pending for a group; empty if there is none.
    lowest: String,
    /// The time at which it was seen first, or the last walk over the entries behind it ended.
    since: Instant,
    /// The id from which the walk goes on.
    walk: String,
}

impl Trimming {
    pub fn new(streams: usize) -> Self {
        let stream = || Stream {
            lowest: String::new(),
            since: Instant::now(),
            walk: String::new(),
        };
        Trimming {
            streams: std::iter::repeat_with(stream).take(streams).collect(),
        }
    }

    /// Removes entries of all streams, if no other member has done so in this interval, in calls of limited work until
    /// this time.
    pub async fn run(&mut self, member: &Membership, until: Instant) -> Result<(), TransportError> {
        let mut interval = millis(TRIM) - 100;
        loop {
            let begun = Instant::now();
            let has_more = self.trim(member, interval).await?;
            if !has_more || Instant::now() >= until {
                return Ok(());
            }
            interval = 0;
            // Half of the server's time is left to others.
            sleep(begun.elapsed()).await;
        }
    }

    async fn trim(&mut self, member: &Membership, interval: u64) -> Result<bool, TransportError> {
        let keys = member.keys();
        let streams = keys.streams().iter().map(String::as_str);
        let mut call = scripts::TRIM.call([keys.trim(), keys.groups()].into_iter().chain(streams));
        call.arg(interval);
        for stream in &self.streams {
            call.arg(stream.walk());
        }
        let answer = member.link().run(&scripts::TRIM, &call).await?;
        let Value::Array(parts) = answer else {
            return Err(member.server().unexpected("the removal of entries"));
        };
        let has_more = parts.first() == Some(&Value::Int(1));
        let ids = parts.into_iter().skip(1).map(|part| match part {
            Value::BulkString(id) => String::from_utf8(id).unwrap_or_default(),
            _ => String::new(),
        });
        let ids: Vec<_> = ids.collect();
        for (stream, ids) in self.streams.iter_mut().zip(ids.chunks_exact(2)) {
            stream.seen(&ids[0], &ids[1]);
        }
        Ok(has_more)
    }
}

impl Stream {
    /// The id from which the entries are to be walked over; empty if none are.
    fn walk(&self) -> &str {
        match &*self.walk {
            "" if !self.lowest.is_empty() && self.since.elapsed() >= STUCK => &self.lowest,
            walk => walk,
        }
    }

    fn seen(&mut self, lowest: &str, walk: &str) {
        let has_walked = !self.walk().is_empty();
        if self.lowest != lowest || has_walked && walk.is_empty() {
            lowest.clone_into(&mut self.lowest);
            self.since = Instant::now();
        }
        walk.clone_into(&mut self.walk);
    }
}
