//! Consumers of queries and replies: elements of a list, gone once they are taken.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use redis::{RedisResult, Value, cmd};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    link::{Connection, Link, Server, ends_connection, late},
    wire::{from_blob, now_millis},
};
use crate::remote::transport::{Backlog, Record, TransportError};

/// Takes elements of one list, through a connection of its own.
pub(super) struct List {
    server: Arc<Server>,
    link: Arc<Link>,
    key: String,
    block: Duration,
    reader: tokio::sync::Mutex<Reader>,
}

type Read = Pin<Box<dyn Future<Output = (Connection, RedisResult<Value>)> + Send>>;

struct Reader {
    connection: Option<Connection>,
    /// A read that outlived the call that began it: what it takes is nowhere else.
    read: Option<Read>,
    taken: VecDeque<Vec<u8>>,
}

impl List {
    pub async fn open(
        link: Arc<Link>,
        key: String,
        block: Duration,
    ) -> Result<Self, TransportError> {
        let server = link.server.clone();
        let deadline = server.deadline;
        let connection = match timeout(deadline, server.reopen()).await {
            Ok(opened) => opened.map_err(|e| server.error(&e))?,
            Err(_) => return Err(server.unanswered(deadline)),
        };
        Ok(List {
            server,
            link,
            key,
            block,
            reader: tokio::sync::Mutex::new(Reader {
                connection: Some(connection),
                read: None,
                taken: VecDeque::new(),
            }),
        })
    }

    pub async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Record>, TransportError> {
        let end = Instant::now() + wait;
        let mut reader = self.reader.lock().await;
        let mut last = false;
        loop {
            let records = reader.hand_out(max);
            if !records.is_empty() || last || max == 0 {
                return Ok(records);
            }
            last = Instant::now() >= end;
            let read = match &mut reader.read {
                Some(read) => read,
                None => {
                    let connection = self.connection(&mut reader.connection, end).await?;
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
                    reader.taken.extend(elements(answer));
                }
                Err(e) => {
                    if !ends_connection(&e) {
                        reader.connection = Some(connection);
                    }
                    return Err(self.server.error(&e));
                }
            }
        }
    }

    /// Ends the connection. What was taken and not handed out is gone, as queries and replies may be.
    pub async fn close(&self) {
        let mut reader = self.reader.lock().await;
        *reader = Reader {
            connection: None,
            read: None,
            taken: VecDeque::new(),
        };
    }

    pub async fn backlog(&self) -> Result<Backlog, TransportError> {
        let mut command = cmd("LLEN");
        command.arg(&self.key);
        match self.link.send(&command).await? {
            Value::Int(length) => Ok(Backlog {
                lag: u64::try_from(length).unwrap_or(0),
                ..Backlog::default()
            }),
            _ => Err(self.server.unexpected("LLEN")),
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
        match timeout_at(end.max(at_least), self.server.reopen()).await {
            Ok(opened) => opened.map_err(|e| self.server.error(&e)),
            Err(_) => Err(self.server.unanswered(self.server.deadline)),
        }
    }

    fn read(&self, mut connection: Connection, max: usize, end: Instant) -> Read {
        let wait = end
            .saturating_duration_since(Instant::now())
            .min(self.block);
        // To block for no time would be to block forever.
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
        command.arg("COUNT").arg(max);
        let limit = block.unwrap_or_default() + self.server.deadline;
        Box::pin(async move {
            let answer = timeout(limit, connection.send(&command)).await;
            (connection, answer.unwrap_or_else(|_| Err(late(limit))))
        })
    }
}

impl Reader {
    fn hand_out(&mut self, max: usize) -> Vec<Record> {
        let now = now_millis();
        let mut records = Vec::with_capacity(max.min(self.taken.len()));
        while records.len() < max
            && let Some(blob) = self.taken.pop_front()
        {
            records.extend(from_blob(blob, now));
        }
        records
    }
}

/// The elements in `[key, [element, …]]`.
fn elements(answer: Value) -> impl Iterator<Item = Vec<u8>> {
    let list = match answer {
        Value::Array(mut parts) if parts.len() == 2 => match parts.pop() {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    list.into_iter().filter_map(|element| match element {
        Value::BulkString(blob) => Some(blob),
        _ => None,
    })
}
