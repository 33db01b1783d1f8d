//! The configuration of a broker.

use std::{sync::Arc, time::Duration};

use super::{Broker, MemoryBroker};
use crate::transport::RECEIVER_GRACE;

/// The configuration of a [`MemoryBroker`]: `MemoryBroker::builder()`, then [`build`](MemoryBrokerBuilder::build).
///
/// ```
/// use std::time::Duration;
/// use static_bus_remote::MemoryBroker;
///
/// let broker = MemoryBroker::builder().receiver_grace(Duration::from_secs(2)).build();
/// # _ = broker;
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "there is no broker until `build`"]
pub struct MemoryBrokerBuilder(Settings);

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub max_record: usize,
    pub receiver_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_record: usize::MAX,
            receiver_grace: RECEIVER_GRACE,
        }
    }
}

impl MemoryBrokerBuilder {
    /// The largest size of a record in bytes, of headers, body and key together. Larger ones are refused with
    /// [`TooLarge`](crate::TransportErrorKind::TooLarge). Dead letters may be larger by
    /// [`DEAD_LETTER_HEADROOM`](crate::transport::DEAD_LETTER_HEADROOM). Default: no limit.
    pub fn max_record(mut self, bytes: usize) -> Self {
        self.0.max_record = bytes;
        self
    }

    /// The time for which queries are accepted after the last receiver of their topic has closed or was dropped.
    /// Then they are refused with [`NoReceiver`](crate::TransportErrorKind::NoReceiver), as are those of a topic that
    /// never had one. Default: [`RECEIVER_GRACE`], 30 s.
    pub fn receiver_grace(mut self, grace: Duration) -> Self {
        self.0.receiver_grace = grace;
        self
    }

    /// An empty broker.
    pub fn build(self) -> MemoryBroker {
        MemoryBroker(Arc::new(Broker {
            settings: self.0,
            ..Broker::default()
        }))
    }
}
