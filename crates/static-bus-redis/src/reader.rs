//! The task that fetches a member's entries: pending ones first, then new ones.

use std::{pin::pin, sync::Arc, time::Duration};

use redis::{Cmd, RedisResult, cmd};
use tokio::time::{Instant, sleep, timeout};

use super::{
    errors::{ends_connection, is_missing},
    membership::Membership,
    recovery::recover,
    replies::entries_by_stream,
    server::{Connection, late},
    wire::{Entry, size},
};
use static_bus_remote::{
    retry,
    time::{later, millis},
    transport::TransportError,
};

/// The task, with a connection of its own, on which it waits for new entries.
pub(super) struct Reader {
    member: Arc<Membership>,
    connection: Option<Connection>,
}

type NewEntries = Vec<(Vec<u8>, Vec<Entry>)>;

impl Reader {
    pub fn new(member: Arc<Membership>, connection: Connection) -> Self {
        Reader {
            member,
            connection: Some(connection),
        }
    }

    /// Fetches entries when the caller wants some, until the consumer is closed.
    pub async fn run(mut self) {
        let member = self.member.clone();
        let demand = member.demand();
        let mut backoff = retry::reconnect();
        while !demand.is_closed() {
            match demand.wanted() {
                Some((max, end)) if !member.streams().is_ready() => {
                    let result = self.fetch(max, end).await;
                    let pause = match &result {
                        Ok(()) => {
                            backoff.reset();
                            None
                        }
                        Err(_) => Some(backoff.next_delay()),
                    };
                    demand.report(result);
                    if let Some(pause) = pause {
                        sleep(pause).await;
                    }
                }
                wanted => {
                    if wanted.is_some() {
                        demand.wake_caller();
                    }
                    demand.reader_woken().await;
                }
            }
        }
    }

    /// Fetches up to `max` entries: pending ones if there are any, and otherwise new ones.
    async fn fetch(&mut self, max: usize, end: Instant) -> Result<(), TransportError> {
        let member = self.member.clone();
        recover(&member, max).await?;
        if member.streams().is_ready() {
            return Ok(());
        }
        let server = member.server();
        let mut connection = match self.connection.take().filter(|c| !c.is_lost()) {
            Some(connection) => connection,
            None => server.open_reader().await.map_err(|e| server.error(&e))?,
        };
        let result = read_new(&member, &mut connection, max, end).await;
        let is_lost = result.as_ref().is_err_and(ends_connection);
        if !is_lost {
            self.connection = Some(connection);
        }
        match result {
            Ok(()) => Ok(()),
            Err(e) if is_missing(&e) => member.recreate().await,
            Err(e) => {
                if is_lost {
                    member.streams().search_all();
                }
                Err(server.error(&e))
            }
        }
    }
}

/// Waits for new entries, and buffers them.
async fn read_new(
    member: &Membership,
    connection: &mut Connection,
    max: usize,
    end: Instant,
) -> RedisResult<()> {
    let readable = {
        let mut streams = member.streams();
        let readable = streams.readable();
        streams.begin_read(&readable);
        readable
    };
    member.demand().begin_read(connection.number());
    let result = wait_for_new(member, connection, &readable, max, end).await;
    let mut streams = member.streams();
    streams.end_read(&readable);
    let result = result.map(|read| {
        let until = later(Instant::now(), member.lease());
        let keys = member.keys().streams();
        for (key, entries) in read {
            if let Some(stream) = readable.iter().find(|n| keys[**n].as_bytes() == key) {
                streams.insert(*stream, entries.into_iter().map(|e| (e, 1)), until);
            }
        }
    });
    drop(streams);
    member.demand().end_read(result.is_ok());
    result
}

async fn wait_for_new(
    member: &Membership,
    connection: &mut Connection,
    streams: &[usize],
    max: usize,
    end: Instant,
) -> RedisResult<NewEntries> {
    if streams.is_empty() {
        sleep(Duration::from_millis(10)).await;
        return Ok(Vec::new());
    }
    let block = end
        .saturating_duration_since(Instant::now())
        .min(member.block());
    let budget = member.budget();
    let command = read_command(member, streams, budget.count(max), block);
    let (begun, limit) = (Instant::now(), budget.limit(member.server().deadline()));
    let mut read = pin!(timeout(block + limit, connection.send(&command)));
    let answer = loop {
        tokio::select! {
            answer = &mut read => match answer {
                Ok(answer) => break answer?,
                Err(_) => {
                    budget.unanswered();
                    return Err(late(block + limit));
                }
            },
            () = member.demand().reader_woken(), if !member.demand().is_closed() => {
                // Entries may have been released. An error comes again without a read under way.
                if recover(member, max).await.is_ok() && member.streams().is_ready() {
                    member.demand().wake_caller();
                }
            }
        }
    };
    let read = entries_by_stream(answer);
    let entries = read.iter().flat_map(|(_, entries)| entries);
    let took = begun.elapsed().saturating_sub(block);
    budget.answered(entries.map(|entry| size(&entry.record)), took, limit);
    Ok(read)
}

fn read_command(member: &Membership, streams: &[usize], max: usize, block: Duration) -> Cmd {
    let mut command = cmd("XREADGROUP");
    command.arg("GROUP").arg(member.group()).arg(member.name());
    command.arg("COUNT").arg(max);
    // XREADGROUP with BLOCK 0 blocks forever.
    if block >= Duration::from_millis(1) {
        command.arg("BLOCK").arg(millis(block));
    }
    command.arg("STREAMS");
    for stream in streams {
        command.arg(&member.keys().streams()[*stream]);
    }
    for _ in streams {
        command.arg(">");
    }
    command
}
