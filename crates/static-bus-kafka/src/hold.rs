//! Queries are handed out at most once, without a commit for each.
//!
//! Before a member hands out the first query of a partition, it commits that it *holds* the partition for some
//! seconds, and it renews that for as long as it has it. While the cluster knows of the hold, queries are
//! handed out at once, and the position is committed when the hold is renewed. A member that gives a partition
//! up commits its position, and that nobody holds it.
//!
//! Who takes over a partition that is held has it from a member that crashed or was cut off, and cannot know
//! how far that one came: it passes over the queries that were sent before the hold's end. What was cut off
//! hands out nothing after that: a hold is shorter than the time after which a silent member loses its
//! partitions, and a commit is a sign of life.

use std::time::{Duration, Instant};

/// By how much the clocks of those who send queries and those who answer them may differ.
const CLOCKS: Duration = Duration::from_secs(1);
/// What metadata of a partition that is held begins with; the end of the hold follows, in milliseconds since 1970.
const UNTIL: &str = "held until ";

/// What is known of a hold on a partition.
pub(super) struct Hold {
    /// How long it lasts, unless it is renewed.
    length: Duration,
    /// Its end, if the cluster knows of it.
    until: Option<Instant>,
    /// Up to when queries may have been handed out by an earlier owner, in milliseconds since 1970.
    before: u64,
}

impl Hold {
    /// A partition whose last owner has committed this metadata.
    pub fn new(length: Duration, metadata: &str) -> Self {
        let held = metadata.strip_prefix(UNTIL);
        let until = held.and_then(|until| until.parse::<u64>().ok());
        Hold {
            length,
            until: None,
            before: until.map_or(0, |until| until.saturating_add(millis(CLOCKS))),
        }
    }

    /// Whether queries may be handed out.
    pub fn is_valid(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether it is to be committed, again or for the first time.
    pub fn is_due(&self) -> bool {
        let until = self.until.map(|until| until - self.length / 2);
        until.is_none_or(|due| due <= Instant::now())
    }

    /// Whether a query that was sent then may have been handed out before.
    pub fn passes_over(&self, sent: u64) -> bool {
        sent < self.before
    }

    /// What to commit with a position after which more is handed out, at this time in milliseconds since 1970.
    pub fn metadata(&self, now: u64) -> String {
        let until = now.saturating_add(millis(self.length));
        format!("{UNTIL}{}", until.max(self.earlier()))
    }

    /// What to commit with the last position. What an earlier owner may have handed out the next must know, too.
    pub fn last_metadata(&self) -> String {
        match self.earlier() {
            0 => String::new(),
            until => format!("{UNTIL}{until}"),
        }
    }

    /// The end of the hold of an owner that has not given the partition up.
    fn earlier(&self) -> u64 {
        self.before.saturating_sub(millis(CLOCKS))
    }

    /// The cluster knows of it, by a commit that began then.
    pub fn committed(&mut self, begun: Instant) {
        self.until = Some(begun + self.length);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(3);

    #[test]
    fn nothing_is_handed_out_before_the_cluster_knows_of_the_hold_nor_after_it() {
        let mut hold = Hold::new(LENGTH, "");
        assert!(!hold.is_valid());
        assert!(hold.is_due());
        hold.committed(Instant::now());
        assert!(hold.is_valid());
        assert!(!hold.is_due());
        hold.committed(Instant::now() - LENGTH / 2);
        assert!(hold.is_valid());
        assert!(hold.is_due(), "it is renewed before its end");
        hold.committed(Instant::now() - LENGTH);
        assert!(!hold.is_valid());
    }

    #[test]
    fn who_takes_over_passes_over_what_was_sent_during_the_hold() {
        let first = Hold::new(LENGTH, "");
        assert!(!first.passes_over(0), "nobody had it before");
        let second = Hold::new(LENGTH, &first.metadata(10_000));
        assert!(second.passes_over(13_000));
        assert!(second.passes_over(13_999), "by another clock");
        assert!(!second.passes_over(14_000));
        for metadata in [second.metadata(9_000), second.last_metadata()] {
            let third = Hold::new(LENGTH, &metadata);
            assert!(third.passes_over(13_999), "{metadata}");
            assert!(!third.passes_over(14_000), "{metadata}");
        }
        assert_eq!(first.last_metadata(), "", "it has given all up");
    }

    #[test]
    fn what_others_wrote_is_no_hold() {
        for foreign in ["1BB", "held until", "held until tomorrow", "until 5", "x"] {
            assert!(!Hold::new(LENGTH, foreign).passes_over(0), "{foreign}");
        }
    }
}
