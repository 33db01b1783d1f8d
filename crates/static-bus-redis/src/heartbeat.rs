//! The task that renews a membership, balances partitions among the members, moves what is due, and removes what is done.

use std::{sync::Arc, time::Duration};

use redis::Value;
use tokio::time::Instant;

use super::{
    audiences::RETURN,
    membership::Membership,
    scheduling::move_due,
    scripts,
    streams::Assignment,
    trimming::{TRIM, Trimming},
};
use static_bus_remote::{
    time::{later, millis},
    transport::TransportError,
};

/// The interval in which one of the members removes ended claims, old keys and names of former members.
const SWEEP: Duration = Duration::from_secs(5);
/// The time after which the name of a member that reads nothing is removed.
const IDLE: Duration = Duration::from_secs(300);

/// The time for which the other groups of a topic may return, when the first is known: the topic is new, or the server has lost
/// its data.
const FIRST_RETURN: Duration = Duration::from_secs(10);

/// The task.
pub(super) struct Heartbeat {
    member: Arc<Membership>,
    /// The end of a time in which the member takes no partitions: its caller has let leases run out.
    suspended: Option<Instant>,
}

/// The server's answer to a renewal.
struct Balance {
    /// The server's clock in milliseconds.
    time: u64,
    /// The number of partitions for each member.
    share: usize,
    assignments: Vec<Assignment>,
}

impl Heartbeat {
    pub fn new(member: Arc<Membership>) -> Self {
        Heartbeat {
            member,
            suspended: None,
        }
    }

    /// Renews the membership until the task is ended.
    pub async fn run(mut self) {
        let member = self.member.clone();
        let start = Instant::now();
        let mut trimming = Trimming::new(member.keys().streams().len());
        let (mut trim_at, mut sweep_at, mut search_at) = (start + TRIM, start + SWEEP, start);
        loop {
            member.demand().heartbeat_woken(member.beat()).await;
            // A failed call is repeated at the next beat. The reader reports outages to the caller.
            let _ = self.beat().await;
            let now = Instant::now();
            let until = now + member.beat() / 2;
            let _ = move_due(&member, until).await;
            if now >= trim_at {
                let _ = trimming.run(&member, until).await;
                trim_at = now + TRIM;
            }
            if now >= sweep_at {
                sweep_at = now + SWEEP;
                let _ = self.sweep().await;
            }
            if now >= search_at {
                search_at = later(now, member.lease().max(SWEEP));
                member.streams().search_partitions();
            }
        }
    }

    /// Renews the membership, the partitions and the leases of buffered entries.
    pub async fn beat(&mut self) -> Result<(), TransportError> {
        let member = &*self.member;
        let now = Instant::now();
        if member.streams().expire() {
            self.suspended = Some(now + member.beat() * 6);
        }
        let patience = member.lease().min(Duration::from_secs(3));
        let is_active = member.demand().is_recent(patience) || member.streams().is_holding();
        let takes = is_active && self.suspended.is_none_or(|end| end <= now);
        let balance = self.rebalance(is_active, takes).await?;
        member.deduplication().set_clock(balance.time);
        let share = if takes { balance.share } else { 0 };
        let buffered = {
            let mut streams = member.streams();
            streams.assign(&balance.assignments, later(now, member.lease()));
            streams.leave_all_but(share)
        };
        member.demand().wake_reader();
        if !buffered.is_empty() {
            member.release_buffered(&buffered).await?;
        }
        member.renew_buffered().await
    }

    /// Renews the membership and the partitions. Gives partitions up that the member has left, and takes free ones.
    /// Creates the group again if it is missing, also while nothing is read.
    async fn rebalance(&self, is_active: bool, takes: bool) -> Result<Balance, TransportError> {
        let member = &*self.member;
        let owners = member.keys().owners().iter().map(String::as_str);
        let streams = member.keys().streams().iter().map(String::as_str);
        let keys = [member.keys().members(), member.keys().groups()];
        let mut call = scripts::REBALANCE.call(keys.into_iter().chain(owners).chain(streams));
        call.arg(member.name()).arg(member.group());
        call.arg(millis(member.lease()));
        call.arg(u8::from(is_active)).arg(u8::from(takes));
        call.arg(millis(RETURN)).arg(millis(FIRST_RETURN));
        for stream in member.streams().left() {
            call.arg(stream - 1);
        }
        let limit = member.server().deadline();
        let answer = member.run_on_group(&scripts::REBALANCE, &call, limit);
        let answer = match answer.await? {
            Some(answer) => answer,
            None => member.link().run(&scripts::REBALANCE, &call).await?,
        };
        Balance::parse(answer)
            .ok_or_else(|| member.server().unexpected("the renewal of a membership"))
    }

    /// Removes ended claims, old keys and names of former members.
    async fn sweep(&self) -> Result<(), TransportError> {
        let member = &*self.member;
        let keys = member.keys();
        let old = member.deduplication().ended_sets();
        let sets = old.iter().map(String::as_str);
        let streams = keys.streams().iter().map(String::as_str);
        let locks = [keys.sweep(), keys.claims()].into_iter();
        let keys: Vec<_> = locks.chain(sets).chain(streams).collect();
        for interval in [millis(SWEEP) - 500].into_iter().chain([0; 50]) {
            let mut call = scripts::SWEEP.call(&keys);
            call.arg(interval).arg(member.group());
            call.arg(millis(member.lease().max(IDLE))).arg(old.len());
            if member.link().run(&scripts::SWEEP, &call).await? != Value::Int(1) {
                break;
            }
        }
        Ok(())
    }
}

impl Balance {
    fn parse(answer: Value) -> Option<Self> {
        let numbers: Vec<u64> = redis::from_redis_value(answer).ok()?;
        let [time, share, assignments @ ..] = &*numbers else {
            return None;
        };
        let assignment = |number: &u64| match number {
            0 => Assignment::Foreign,
            1 => Assignment::Kept,
            _ => Assignment::Taken,
        };
        Some(Balance {
            time: *time,
            share: usize::try_from(*share).ok()?,
            assignments: assignments.iter().map(assignment).collect(),
        })
    }
}
