//! The queue of messages of an assigned partition.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    Message,
    consumer::base_consumer::PartitionQueue,
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, OwnedMessage},
};

use super::super::{events::Events, wire};
use static_bus_remote::{time::now_millis, transport::Record};

/// A reader of the messages that the client has fetched.
pub(crate) struct Source {
    /// `None` when the source is stopped.
    queue: Option<PartitionQueue<Events>>,
    /// A message that was read ahead of its delivery.
    ahead: Option<OwnedMessage>,
    /// `true` if the last message of the partition was read.
    at_end: bool,
}

/// A record with its place and the time of its append, in milliseconds since the Unix epoch.
pub(crate) struct Fetched {
    pub offset: i64,
    pub record: Arc<Record>,
    pub appended: i64,
}

impl Source {
    pub fn new(queue: PartitionQueue<Events>) -> Self {
        Source {
            queue: Some(queue),
            ahead: None,
            at_end: false,
        }
    }

    /// The next message whose offset is accepted.
    pub fn next(&mut self, mut accepts: impl FnMut(i64) -> bool) -> KafkaResult<Option<Fetched>> {
        if let Some(message) = self.ahead.take()
            && accepts(message.offset())
        {
            return Ok(Some(decode(&message)));
        }
        let Some(queue) = &self.queue else {
            return Ok(None);
        };
        while let Some(message) = poll(queue, &mut self.at_end)? {
            if accepts(message.offset()) {
                return Ok(Some(decode(&message)));
            }
        }
        Ok(None)
    }

    /// Reads one message ahead whose offset is accepted.
    pub fn look_ahead(&mut self, accepts: impl Fn(i64) -> bool) {
        while self.ahead.is_none()
            && let Some(queue) = &self.queue
            && let Ok(Some(message)) = poll(queue, &mut self.at_end)
        {
            if accepts(message.offset()) {
                self.ahead = Some(message.detach());
            }
        }
    }

    /// The time of the append of the message that was read ahead.
    pub fn appended_ahead(&self) -> Option<i64> {
        self.ahead.as_ref().map(timestamp)
    }

    /// Returns `true` if no message is left in the partition. After the last message there may be offsets of
    /// transaction markers.
    pub fn is_at_end(&self) -> bool {
        self.at_end && self.ahead.is_none()
    }

    /// Stops the source for good. Returns whether it was running.
    pub fn stop(&mut self) -> bool {
        self.ahead = None;
        self.queue.take().is_some()
    }

    pub fn is_stopped(&self) -> bool {
        self.queue.is_none()
    }
}

/// The next message, if the client has fetched it.
fn poll<'q>(
    queue: &'q PartitionQueue<Events>,
    at_end: &mut bool,
) -> KafkaResult<Option<BorrowedMessage<'q>>> {
    loop {
        match queue.poll(Duration::ZERO) {
            None => return Ok(None),
            Some(Ok(message)) => {
                *at_end = false;
                return Ok(Some(message));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => *at_end = true,
            Some(Err(error)) => return Err(error),
        }
    }
}

fn decode(message: &impl Message) -> Fetched {
    Fetched {
        offset: message.offset(),
        record: Arc::new(wire::decode(message, now_millis())),
        appended: timestamp(message),
    }
}

fn timestamp(message: &impl Message) -> i64 {
    message.timestamp().to_millis().unwrap_or(0)
}
