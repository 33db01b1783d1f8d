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
    /// The queue of another client, which is read instead.
    detour: Option<PartitionQueue<Events>>,
    /// A message that was read ahead of its delivery.
    ahead: Option<OwnedMessage>,
    /// The offset after the last message that was read.
    next: i64,
    /// The offset after the last message that was read from `queue`. It is before `next` after a detour.
    queue_next: i64,
    /// `true` if the message that was read ahead is from before those: the partition was deleted and created again.
    is_rewound: bool,
}

/// A record with its place and the time of its append, in milliseconds since the Unix epoch.
pub(crate) struct Fetched {
    pub offset: i64,
    pub record: Arc<Record>,
    pub appended: i64,
}

impl Source {
    /// The source of a partition from a position on.
    pub fn new(queue: PartitionQueue<Events>, position: i64) -> Self {
        Source {
            queue: Some(queue),
            detour: None,
            ahead: None,
            next: position,
            queue_next: position,
            is_rewound: false,
        }
    }

    /// The next message whose offset is accepted; none until a [rewind](Self::rewind) is taken.
    pub fn next(&mut self, mut accepts: impl FnMut(i64) -> bool) -> KafkaResult<Option<Fetched>> {
        if self.is_rewound {
            return Ok(None);
        }
        if let Some(message) = self.ahead.take()
            && accepts(message.offset())
        {
            return Ok(Some(decode(&message)));
        }
        let mut found = None;
        self.poll(|message| {
            if accepts(message.offset()) {
                found = Some(decode(message));
            }
            found.is_some()
        })?;
        Ok(found)
    }

    /// Reads one message ahead whose offset is accepted.
    pub fn look_ahead(&mut self, accepts: impl Fn(i64) -> bool) {
        if self.ahead.is_some() {
            return;
        }
        let mut ahead = None;
        // The next call of `next` meets a failure again.
        _ = self.poll(|message| {
            if accepts(message.offset()) {
                ahead = Some(message.detach());
            }
            ahead.is_some()
        });
        self.ahead = self.ahead.take().or(ahead);
    }

    /// Passes the messages that the client has fetched to a function, until it returns `true`.
    fn poll(&mut self, mut is_last: impl FnMut(&BorrowedMessage<'_>) -> bool) -> KafkaResult<()> {
        let Some(queue) = self.detour.as_ref().or(self.queue.as_ref()) else {
            return Ok(());
        };
        loop {
            match queue.poll(Duration::ZERO) {
                None => return Ok(()),
                Some(Ok(message)) => {
                    let offset = message.offset();
                    let before = match self.detour {
                        Some(_) => self.next,
                        None => std::mem::replace(&mut self.queue_next, offset + 1),
                    };
                    self.is_rewound = offset < before;
                    if !self.is_rewound && offset < self.next {
                        // It was read in a detour.
                        continue;
                    }
                    self.next = offset + 1;
                    if self.is_rewound {
                        self.ahead = Some(message.detach());
                        return Ok(());
                    }
                    if is_last(&message) {
                        return Ok(());
                    }
                }
                // Reported if the settings ask for it.
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// The offset at which the partition begins again, if it was deleted and created again since the last call.
    pub fn rewind(&mut self) -> Option<i64> {
        let ahead = self.ahead.as_ref().filter(|_| self.is_rewound);
        self.is_rewound = false;
        ahead.map(Message::offset)
    }

    /// The time of the append of the message that was read ahead.
    pub fn appended_ahead(&self) -> Option<i64> {
        self.ahead.as_ref().map(timestamp)
    }

    /// Stops the source for good, unless it makes a detour. Returns whether it was running.
    pub fn stop(&mut self) -> bool {
        if let Some(ahead) = self.ahead.take() {
            self.next = ahead.offset();
        }
        let was_running = !self.is_stopped();
        self.queue = None;
        self.detour = None;
        was_running
    }

    pub fn is_stopped(&self) -> bool {
        self.queue.is_none() && self.detour.is_none()
    }

    /// The offset of the next message that the client fetches.
    pub fn next_fetched(&self) -> i64 {
        self.next
    }

    /// The offset after the last message that the member's client has fetched.
    pub fn fetched(&self) -> i64 {
        self.queue_next
    }

    /// Reads the messages of another client from [`next_fetched`](Self::next_fetched) on, until the detour ends. A
    /// stopped source runs during the detour.
    pub fn begin_detour(&mut self, queue: PartitionQueue<Events>) {
        self.detour = Some(queue);
    }

    /// Ends a detour. Its messages are skipped that the client fetches again.
    pub fn end_detour(&mut self) {
        self.detour = None;
    }
}

fn decode(message: &impl Message) -> Fetched {
    Fetched {
        offset: message.offset(),
        record: Arc::new(wire::decode(message, now_millis)),
        appended: timestamp(message),
    }
}

fn timestamp(message: &impl Message) -> i64 {
    message.timestamp().to_millis().unwrap_or(0)
}
