//! Holds on partitions of queries: delivery at most once without a commit for each query.
//!
//! Before a member delivers the first query of a partition, it commits that it *holds* the partition for some
//! seconds. While the hold is valid, it delivers queries at once. It renews the hold until it loses the partition,
//! and commits the position with each renewal. A member that gives the partition up commits its position and the
//! end of the hold.
//!
//! A member that takes over a held partition has it from a member that crashed or lost its connection, and does
//! not know which queries that member delivered. It skips the queries that were sent before the end of the hold.
//! A member without a connection delivers nothing after that end: a hold is shorter than the session timeout,
//! and a commit proves that the session is alive.

use std::time::{Duration, Instant};

use static_bus_remote::time::millis;

/// The tolerated difference between the clocks of senders and receivers of queries.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(1);
/// The prefix of the metadata of a held partition. The end of the hold follows, in milliseconds since the Unix
/// epoch.
const PREFIX: &str = "held until ";

/// The hold of a member on a partition.
pub(super) struct Hold {
    length: Duration,
    /// The end of the hold that is committed.
    until: Option<Instant>,
    /// The time before which an earlier owner may have delivered queries, in milliseconds since the Unix epoch.
    skipped_before: u64,
}

impl Hold {
    /// The hold on a partition with this committed metadata.
    pub fn new(length: Duration, metadata: &str) -> Self {
        let held = metadata.strip_prefix(PREFIX);
        let until = held.and_then(|until| until.parse::<u64>().ok());
        Hold {
            length,
            until: None,
            skipped_before: until.map_or(0, |until| until.saturating_add(millis(MAX_CLOCK_SKEW))),
        }
    }

    /// Returns `true` if queries may be delivered.
    pub fn is_valid(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    /// Returns `true` if a commit of the hold is due, for the first time or as a renewal.
    pub fn is_due(&self) -> bool {
        let until = self.until.map(|until| until - self.length / 2);
        until.is_none_or(|due| due <= Instant::now())
    }

    /// Returns `true` if a query that was sent at this time may have been delivered by an earlier owner.
    pub fn skips(&self, sent: u64) -> bool {
        sent < self.skipped_before
    }

    /// The metadata of a hold that begins now, in milliseconds since the Unix epoch.
    pub fn metadata(&self, now: u64) -> String {
        let until = now.saturating_add(millis(self.length));
        format!("{PREFIX}{}", until.max(self.earlier()))
    }

    /// The metadata of the last commit. It keeps the hold of an earlier owner that may not be over.
    pub fn last_metadata(&self) -> String {
        match self.earlier() {
            0 => String::new(),
            until => format!("{PREFIX}{until}"),
        }
    }

    /// The end of the hold of an earlier owner, or 0.
    fn earlier(&self) -> u64 {
        self.skipped_before.saturating_sub(millis(MAX_CLOCK_SKEW))
    }

    /// Starts or renews the hold after a commit that was begun at this time.
    pub fn committed(&mut self, begun: Instant) {
        self.until = Some(begun + self.length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(3);

    #[test]
    fn a_hold_is_valid_from_its_commit_to_its_end() {
        let mut hold = Hold::new(LENGTH, "");
        assert!(!hold.is_valid());
        assert!(hold.is_due());
        hold.committed(Instant::now());
        assert!(hold.is_valid());
        assert!(!hold.is_due());
        hold.committed(Instant::now() - LENGTH / 2);
        assert!(hold.is_valid());
        assert!(hold.is_due(), "renewed before its end");
        hold.committed(Instant::now() - LENGTH);
        assert!(!hold.is_valid());
    }

    #[test]
    fn the_next_owner_skips_queries_that_were_sent_during_the_hold() {
        let first = Hold::new(LENGTH, "");
        assert!(!first.skips(0), "no earlier owner");
        let second = Hold::new(LENGTH, &first.metadata(10_000));
        assert!(second.skips(13_000));
        assert!(second.skips(13_999), "within the clock skew");
        assert!(!second.skips(14_000));
        for metadata in [second.metadata(9_000), second.last_metadata()] {
            let third = Hold::new(LENGTH, &metadata);
            assert!(third.skips(13_999), "{metadata}");
            assert!(!third.skips(14_000), "{metadata}");
        }
        assert_eq!(first.last_metadata(), "", "no hold is left");
    }

    #[test]
    fn foreign_metadata_is_not_a_hold() {
        for foreign in ["1BB", "held until", "held until tomorrow", "until 5", "x"] {
            assert!(!Hold::new(LENGTH, foreign).skips(0), "{foreign}");
        }
    }
}
