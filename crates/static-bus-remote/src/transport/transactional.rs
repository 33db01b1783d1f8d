//! Appending in a transaction of the caller.

use super::{Record, Topic, Transport, TransportError};

/// An engine that appends records in a transaction of the caller. `X` is the type of the transaction.
pub trait Transactional<X>: Transport {
    /// Appends records of commands and events in a transaction, in order: all or none. They exist if and only if it commits, and
    /// consumers that wait are woken then.
    fn append_within(
        &self,
        transaction: &mut X,
        records: Vec<(Topic, Record)>,
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// [Cancels](Transport::cancel) a record in a transaction of the caller: it is cancelled if and only if the transaction commits.
    /// Default: as [`check_scheduling`](Transport::check_scheduling).
    fn cancel_within(
        &self,
        transaction: &mut X,
        topic: &Topic,
        key: &str,
    ) -> impl Future<Output = Result<bool, TransportError>> + Send {
        _ = (transaction, topic, key);
        let refused = self.check_scheduling();
        async move { refused.map(|()| false) }
    }
}
