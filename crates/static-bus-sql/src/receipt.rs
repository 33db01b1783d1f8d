//! The names of deliveries.

/// The name of a delivery by a [`SqlConsumer`](super::SqlConsumer); each delivery has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlReceipt {
    pub(crate) record: i64,
    /// The number of deliveries of the record, this one included.
    pub(crate) time: i64,
    pub(crate) strand: Option<i64>,
}

impl SqlReceipt {
    pub(crate) fn place(&self) -> String {
        place(self.record)
    }
}

/// The location of a record.
pub(crate) fn place(record: i64) -> String {
    format!("record {record}")
}
