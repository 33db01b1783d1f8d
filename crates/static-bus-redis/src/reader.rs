//! The task that fetches a member's entries: pending ones first, then new ones.

mod large;

use std::{pin::pin, sync::Arc, time::Duration};

use redis::{Cmd, RedisResult, cmd};
use tokio::time::{Instant, sleep, timeout};

use self::large::LargeReads;
use super::{
    errors::{ends_connection, is_missing},
    membership::Membership,
    recovery::recover,
    replies::{NewEntries, entries_by_stream},
    server::{Connection, late},
    wire::size,
};
use static_bus_remote::{retry, time::millis, transport::TransportError};

/// The task, with a connection of its own, on which it waits for new entries.
pub(super) struct Reader {
    member: Arc<Membership>,
    connection: Option<Connection>,
    large: LargeReads,
}

impl Reader {
    pub fn new(member: Arc<Membership>, connection: Connection) -> Self {
        Reader {
            member,
            connection: Some(connection),
            large: LargeReads::default(),
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
        let mut connection = self.connection().await?;
        let result = self.read_new(&mut connection, max, end).await;
        let is_lost = result.as_ref().is_err_and(ends_connection);
        match &result {
            // The next one is opened to the server that has the slot.
            Err(e) if e.code() == Some("MOVED") => {
                member.link().heed(e);
                self.connection = None;
            }
            Err(_) if is_lost => {
                member.link().suspect();
                self.connection = None;
            }
            _ => {}
        }
        let Err(e) = result else {
            return Ok(());
        };
        if is_lost || is_missing(&e) {
            // The answer may have had entries of any stream.
            member.streams().search_all();
        }
        match is_missing(&e) {
            true => member.recreate().await,
            false => Err(member.server().error(&e)),
        }
    }

    /// The connection for reads that block, which is opened if there is none.
    async fn connection(&mut self) -> Result<Connection, TransportError> {
        if let Some(connection) = self.connection.as_ref().filter(|c| !c.is_lost()) {
            return Ok(connection.clone());
        }
        let member = &*self.member;
        let opened = member.link().open_reader().await;
        let opened = opened.map_err(|e| member.server().error(&e))?;
        Ok(self.connection.insert(opened).clone())
    }

    /// Waits for new entries, and buffers them.
    async fn read_new(
        &mut self,
        connection: &mut Connection,
        max: usize,
        end: Instant,
    ) -> RedisResult<()> {
        let member = &*self.member;
        let readable = {
            let mut streams = member.streams();
            let readable = streams.readable();
            streams.begin_read(&readable);
            readable
        };
        let reader = connection.reader().cloned();
        member.demand().begin_read(reader);
        let large = self.large.read(member, connection, &readable, max).await;
        let result = match large {
            Ok(read) if read.is_empty() => {
                let read = wait_for_new(member, connection, &readable, max, end).await;
                read.inspect(|read| self.large.found(read.is_empty()))
            }
            large => large,
        };
        member.streams().end_read(&readable);
        let result = result.map(|read| member.buffer(&readable, read));
        member.demand().end_read(result.is_ok());
        result
    }
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
    // Large entries that were there before are read. A read that waits returns those of one stream.
    let count = budget.share(streams.len(), max).unwrap_or(1);
    let command = read_command(member, streams, count, block);
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
    budget.found(read.len());
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
