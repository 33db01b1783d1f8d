//! The abilities in which engines differ.

use std::time::Duration;

/// The abilities of an engine. Cases that need more are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `true` if records outlive the process that appended them.
    pub other_processes: bool,
    /// `true` if records outlive a restart of the broker.
    pub persistence: bool,
    /// `true` if records of one key are consumed in order by any number of members.
    pub key_order: bool,
    /// The unit that is divided among the members of a group.
    pub sharing: Sharing,
    /// The grace time after which queries without a receiver are refused: that of the engine under test, which may be
    /// shorter than [`RECEIVER_GRACE`](static_bus_remote::transport::RECEIVER_GRACE). `None` if the engine cannot know
    /// the receivers, and accepts all queries. Default: `None`.
    pub receiver_grace: Option<Duration>,
    /// The limit of the size of a record in bytes, of the engine under test: a record whose headers, body and key are
    /// smaller by 1 KiB is accepted, and one that is larger is refused. `None` if there is no limit, or one that is
    /// too large for a test. Default: `None`.
    pub max_record: Option<usize>,
}

/// The unit that is divided among the members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// Records: the next one goes to the member that asks, and so does a released one.
    Records,
    /// Partitions: the records of one go to one member, and so do those that the member releases. A
    /// partition moves to another member when its member closes, dies or lets a lease run out, or when a member
    /// joins. Members join when they first receive. Only records of one key are in order.
    Partitions,
}

impl Capabilities {
    /// An engine within one process.
    pub const IN_PROCESS: Self = Capabilities {
        other_processes: false,
        persistence: false,
        key_order: true,
        sharing: Sharing::Records,
        receiver_grace: None,
        max_record: None,
    };
    /// A broker that shares records, and keeps them when its clients end or it is restarted.
    pub const BROKER: Self = Capabilities {
        other_processes: true,
        persistence: true,
        key_order: true,
        sharing: Sharing::Records,
        receiver_grace: None,
        max_record: None,
    };

    /// The same abilities with another unit that is shared.
    #[must_use]
    pub const fn with_sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// The same abilities of an engine that refuses queries which have had no receiver for this time.
    #[must_use]
    pub const fn with_receiver_grace(mut self, grace: Duration) -> Self {
        self.receiver_grace = Some(grace);
        self
    }

    /// The same abilities of an engine that refuses records which are larger than this.
    #[must_use]
    pub const fn with_max_record(mut self, bytes: usize) -> Self {
        self.max_record = Some(bytes);
        self
    }
}
