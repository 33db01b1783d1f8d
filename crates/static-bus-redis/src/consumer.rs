//! Consumers of commands and events: members of groups that read the streams of a topic.
//!
//! Two tasks work for a consumer. The [`Reader`] fetches entries when the caller waits for some; the [`Heartbeat`]
//! renews the membership.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    heartbeat::Heartbeat, link::Link, membership::Membership, partitions::PartitionCounts,
    reader::Reader, receipt::RedisReceipt,
};
use static_bus_remote::{
    time::later,
    transport::{Backlog, Claim, Consumer, Delivery, Lease, Subscription, TransportError},
};

/// A member of a group on Redis; made by [`consume`](static_bus_remote::Transport::consume).
///
/// It has a connection of its own, on which it waits for records, and two tasks, which end when it is closed or
/// dropped. A dropped consumer releases nothing: its records go to others when its leases run out.
pub struct RedisConsumer {
    member: Arc<Membership>,
    tasks: tokio::sync::Mutex<Tasks>,
}

struct Tasks {
    reader: JoinSet<()>,
    heartbeat: JoinSet<()>,
}

impl RedisConsumer {
    pub(super) async fn join(
        link: Link,
        counts: Arc<PartitionCounts>,
        subscription: Subscription,
        block: Duration,
    ) -> Result<Self, TransportError> {
        let member = Arc::new(Membership::new(link, counts, subscription, block).await?);
        let connection = member.link().open_reader_in_time().await?;
        let mut heartbeat = Heartbeat::new(member.clone());
        heartbeat.beat().await?;
        let mut tasks = Tasks {
            reader: JoinSet::new(),
            heartbeat: JoinSet::new(),
        };
        tasks
            .reader
            .spawn(Reader::new(member.clone(), connection).run());
        tasks.heartbeat.spawn(heartbeat.run());
        Ok(RedisConsumer {
            member,
            tasks: tokio::sync::Mutex::new(tasks),
        })
    }
}

impl Consumer for RedisConsumer {
    type Receipt = RedisReceipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<RedisReceipt>>, TransportError> {
        let (server, demand) = (self.member.server(), self.member.demand());
        let end = later(Instant::now(), wait);
        let limit = end + server.deadline();
        demand.call(self.member.beat());
        let deliveries = self.member.streams().hand_out(max);
        if !deliveries.is_empty() || max == 0 {
            return Ok(deliveries);
        }
        let wanted = demand.want(max, end);
        loop {
            if demand.is_closed() {
                return Err(server.closed("consumer"));
            }
            demand.wake_reader();
            // After the end of the wait, the read that began before it has the deadline for its answer.
            let is_over = Instant::now() >= end;
            let until = if is_over { limit } else { end };
            let is_late = timeout_at(until, demand.fetched()).await.is_err() && is_over;
            let deliveries = self.member.streams().hand_out(max);
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            if Instant::now() < end {
                continue;
            }
            if let Some(trouble) = demand.trouble().or_else(|| server.trouble()) {
                return Err(trouble);
            }
            if wanted.is_answered() {
                return Ok(Vec::new());
            }
            if is_late {
                return Err(server.unanswered(server.deadline()));
            }
        }
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        self.member.deduplication().claim(keys).await
    }

    async fn acknowledge(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        self.member.acknowledge(leases).await
    }

    /// Key and id of the entry, as `XRANGE` takes them.
    fn place(&self, receipt: &RedisReceipt) -> Option<String> {
        let stream = &self.member.keys().streams()[receipt.stream()];
        Some(format!("{stream} {}", receipt.id()))
    }

    async fn renew(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        self.member.renew(leases).await
    }

    async fn release(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        self.member.release(leases).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        let (member, demand) = (&*self.member, self.member.demand());
        if demand.close() {
            return Ok(());
        }
        let mut tasks = self.tasks.lock().await;
        let reader = async {
            // Without it, entries of an abandoned read would be delivered only after their leases.
            if let Some(reader) = demand.blocked() {
                member.link().servers().unblock(&reader).await;
            }
            tasks.reader.join_next().await;
        };
        let limit = member.server().farewell();
        let _ = timeout(limit / 2, reader).await;
        tasks.reader.shutdown().await;
        tasks.heartbeat.shutdown().await;
        let left = timeout(limit, member.leave()).await;
        left.unwrap_or_else(|_| Err(member.server().unanswered(limit)))
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        self.member.backlog().await
    }
}

impl fmt::Debug for RedisConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConsumer").finish_non_exhaustive()
    }
}
