//! Receivers of queries and replies: elements of a list, which are gone when they are taken.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{RedisResult, Value, cmd};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use super::{
    budget::Budget,
    errors::ends_connection,
    link::Link,
    presence::Presence,
    server::{Connection, ReaderId, late},
    wire::{blobs, from_blob},
};
use static_bus_remote::{
    lock::lock,
    time::{later, now_millis},
    transport::{Receiver, Record, TransportError},
};

/// A receiver of queries or replies; made by [`listen`](static_bus_remote::Transport::listen).
///
/// It has a connection of its own, on which it waits for records.
pub struct RedisReceiver {
    link: Link,
    key: String,
    block: Duration,
    budget: Arc<Budget>,
    /// Of a receiver of queries.
    presence: tokio::sync::Mutex<Option<Presence>>,
    reader: tokio::sync::Mutex<Reader>,
    /// The connection on which a read may block.
    reading: Mutex<Option<ReaderId>>,
    is_closed: AtomicBool,
    closing: Notify,
}

type Read = Pin<Box<dyn Future<Output = (Connection, RedisResult<Vec<Vec<u8>>>)> + Send>>;

struct Reader {
    connection: Option<Connection>,
    /// A read that outlived the call that began it. The server has removed the elements of its answer.
    read: Option<Read>,
    /// The blobs of records that were taken and not returned yet.
    taken: VecDeque<Bytes>,
}

impl RedisReceiver {
    pub(super) async fn open(
        link: Link,
        key: String,
        block: Duration,
        presence: Option<Presence>,
    ) -> Result<Self, TransportError> {
        let connection = link.open_reader_in_time().await?;
        Ok(RedisReceiver {
            link,
            key,
            block,
            budget: Arc::new(Budget::new()),
            presence: tokio::sync::Mutex::new(presence),
            reader: tokio::sync::Mutex::new(Reader {
                connection: Some(connection),
                read: None,
                taken: VecDeque::new(),
            }),
            reading: Mutex::default(),
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
        })
    }

    async fn read_until(
        &self,
        reader: &mut Reader,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        let end = later(Instant::now(), wait);
        let mut is_last = false;
        loop {
            let records = reader.hand_out(max);
            if !records.is_empty() || is_last || max == 0 {
                return Ok(records);
            }
            is_last = Instant::now() >= end;
            let read = match &mut reader.read {
                Some(read) => read,
                None => {
                    let connection = self.connection(&mut reader.connection, end).await?;
                    *lock(&self.reading) = connection.reader().cloned();
                    reader.read.insert(self.read(connection, max, end))
                }
            };
            // The server answers in time when the read began with this call.
            let patience = Duration::from_millis(200);
            let Ok((connection, answer)) = timeout_at(end + patience, read).await else {
                return Ok(Vec::new());
            };
            reader.read = None;
            match answer {
                Ok(answer) => {
                    reader.connection = Some(connection);
                    reader.taken.extend(answer.into_iter().flat_map(blobs));
                }
                Err(e) => {
                    match e.code() {
                        // The next one is opened to the server that has the slot.
                        Some("MOVED") => self.link.heed(&e),
                        _ if ends_connection(&e) => self.link.suspect(),
                        _ => reader.connection = Some(connection),
                    }
                    return Err(self.link.server().error(&e));
                }
            }
        }
    }

    async fn connection(
        &self,
        current: &mut Option<Connection>,
        end: Instant,
    ) -> Result<Connection, TransportError> {
        match current.take() {
            Some(connection) if !connection.is_lost() => return Ok(connection),
            _ => {}
        }
        let at_least = Instant::now() + Duration::from_millis(100);
        match timeout_at(end.max(at_least), self.link.open_reader()).await {
            Ok(opened) => opened.map_err(|e| self.link.server().error(&e)),
            Err(_) => Err(self
                .link
                .server()
                .unanswered(self.link.servers().deadline())),
        }
    }

    fn read(&self, mut connection: Connection, max: usize, end: Instant) -> Read {
        let wait = end
            .saturating_duration_since(Instant::now())
            .min(self.block);
        // BLMPOP with a timeout of 0 blocks forever.
        let block = (wait >= Duration::from_millis(1)).then_some(wait);
        let mut command = match block {
            Some(block) => {
                let mut command = cmd("BLMPOP");
                command.arg(block.as_secs_f64());
                command
            }
            None => cmd("LMPOP"),
        };
        command.arg(1).arg(&self.key).arg("LEFT");
        command.arg("COUNT").arg(self.budget.count(max));
        let (block, budget) = (block.unwrap_or_default(), self.budget.clone());
        let limit = budget.limit(self.link.servers().deadline());
        Box::pin(async move {
            let begun = Instant::now();
            let answer = timeout(block + limit, connection.send(&command)).await;
            let Ok(answer) = answer else {
                budget.unanswered();
                return (connection, Err(late(block + limit)));
            };
            let answer = answer.map(elements);
            if let Ok(blobs) = &answer {
                let took = begun.elapsed().saturating_sub(block);
                budget.answered(blobs.iter().map(Vec::len), took, limit);
            }
            (connection, answer)
        })
    }

    /// Appends elements to the head of the list, in their order.
    async fn put_back(
        &self,
        elements: impl DoubleEndedIterator<Item = Bytes>,
    ) -> Result<(), TransportError> {
        let mut commands = redis::pipe();
        commands.cmd("LPUSH").arg(&self.key);
        for blob in elements.rev() {
            commands.arg(&blob[..]);
        }
        commands.cmd("PEXPIRE").arg(&self.key).arg(60_000).arg("NX");
        self.link.send_all(&commands).await.map(drop)
    }
}

impl Receiver for RedisReceiver {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        let mut reader = self.reader.lock().await;
        if self.is_closed.load(Ordering::Acquire) {
            return Err(self.link.server().closed("receiver"));
        }
        tokio::select! {
            biased;
            () = self.closing.notified() => Err(self.link.server().closed("receiver")),
            received = self.read_until(&mut reader, max, wait) => received,
        }
    }

    async fn close(&self) -> Result<(), TransportError> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.closing.notify_one();
        let presence = self.presence.lock().await.take();
        let leave = async {
            if let Some(mut presence) = presence {
                presence.leave().await;
            }
        };
        let mut reader = self.reader.lock().await;
        let limit = self.link.server().farewell();
        let end_read = async {
            if let Some(read) = reader.read.take() {
                let end = async {
                    let reading = lock(&self.reading).take();
                    if let Some(reading) = reading {
                        self.link.servers().unblock(&reading).await;
                    }
                    read.await
                };
                if let Ok((_, Ok(answer))) = timeout(limit, end).await {
                    reader.taken.extend(answer.into_iter().flat_map(blobs));
                }
            }
        };
        tokio::join!(leave, end_read);
        reader.connection = None;
        if reader.taken.is_empty() {
            return Ok(());
        }
        let put_back = timeout(limit, self.put_back(reader.taken.drain(..))).await;
        put_back.unwrap_or_else(|_| Err(self.link.server().unanswered(limit)))
    }
}

impl fmt::Debug for RedisReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReceiver").finish_non_exhaustive()
    }
}

impl Reader {
    /// Up to `max` records of the elements that were taken, without expired ones.
    fn hand_out(&mut self, max: usize) -> Vec<Arc<Record>> {
        let now = now_millis();
        let mut records = Vec::with_capacity(max.min(self.taken.len()));
        while records.len() < max
            && let Some(blob) = self.taken.pop_front()
        {
            records.extend(from_blob(blob, now).map(Arc::new));
        }
        records
    }
}

/// The elements in `[key, [element, …]]`.
fn elements(answer: Value) -> Vec<Vec<u8>> {
    let list = match answer {
        Value::Array(mut parts) if parts.len() == 2 => match parts.pop() {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let blobs = list.into_iter().filter_map(|element| match element {
        Value::BulkString(blob) => Some(blob),
        _ => None,
    });
    blobs.collect()
}
