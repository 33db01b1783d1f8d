//! What a member does beside reading: it gives signs of life, takes its share of the partitions,
//! gives up what others are to have, keeps what waits here its own, and tidies up.

use std::{sync::Arc, time::Duration};

use redis::Value;
use tokio::time::{Instant, timeout};

use super::{
    scripts,
    state::{Owned, State},
    stream::{Group, Places},
};
use static_bus_remote::{time::millis, transport::TransportError};

/// How often what every group is done with is removed, by one of the members.
const TRIM: Duration = Duration::from_secs(1);
/// How often names, claims and handled keys are tidied up, by one of the members.
const SWEEP: Duration = Duration::from_secs(5);
/// For how long a name is kept that nothing was read for.
const IDLE: Duration = Duration::from_secs(300);
/// How many entries one call removes.
const TRIMMED: i64 = 20_000;

/// What a keeper remembers from beat to beat.
#[derive(Default)]
pub(super) struct Mood {
    /// The caller let leases run out: others are to have its partitions, until then.
    distrust: Option<Instant>,
}

pub(super) async fn run(group: Arc<Group>) {
    let start = Instant::now();
    let (mut trim_at, mut sweep_at, mut look_at) = (start + TRIM, start + SWEEP, start);
    let mut mood = Mood::default();
    loop {
        let _ = timeout(group.beat, group.wake_keeper.notified()).await;
        // What fails is tried again at the next beat; the caller learns of it from the reader.
        let _ = beat(&group, &mut mood).await;
        let now = Instant::now();
        if now >= trim_at {
            trim_at = now + TRIM;
            let _ = trim(&group).await;
        }
        if now >= sweep_at {
            sweep_at = now + SWEEP;
            let _ = sweep(&group).await;
        }
        if now >= look_at {
            // A former owner's read may have brought an entry of a partition late.
            look_at = now + group.subscription.lease.max(SWEEP);
            let mut state = group.state();
            (1..group.keys.streams.len()).for_each(|n| state.look_again(n));
        }
    }
}

/// One sign of life.
pub(super) async fn beat(group: &Group, mood: &mut Mood) -> Result<(), TransportError> {
    let lease = group.subscription.lease;
    let now = Instant::now();
    let (given, wants, takes, buffered) = {
        let mut state = group.state();
        for stream in state.expire() {
            if stream > 0 {
                state.look_again(stream);
                mood.distrust = Some(now + group.beat * 6);
            }
        }
        if mood.distrust.is_some_and(|until| until <= now) {
            mood.distrust = None;
        }
        let wants = state.is_active(lease);
        (
            state.given_up(),
            wants,
            wants && mood.distrust.is_none(),
            state.renewable(lease),
        )
    };
    let keys: Vec<_> = std::iter::once(&group.keys.members)
        .chain(&group.keys.owners)
        .collect();
    let mut call = scripts::REBALANCE.call(keys.into_iter());
    call.arg(&*group.subscription.member).arg(millis(lease));
    call.arg(u8::from(wants)).arg(u8::from(takes));
    for stream in &given {
        call.arg(stream - 1);
    }
    let answer = group.link.run(&scripts::REBALANCE, &call).await?;
    let (time, share, partitions) =
        share_in(answer).ok_or_else(|| group.link.server.unexpected("a sign of life"))?;
    let share = if takes { share } else { 0 };
    let unseen = {
        let mut state = group.state();
        state.clock = (Instant::now(), time);
        state.set_partitions(&partitions, now + lease);
        state.leave_all_but(share)
    };
    group.wake_reader.notify_one();
    if !unseen.is_empty() {
        group.release(&unseen, &[]).await?;
    }
    if !buffered.is_empty() {
        group.renew(&buffered, &[]).await?;
        group.state().renewed(&buffered, now + lease);
    }
    Ok(())
}

/// The time, the number of partitions that are the member's share, and the state of each.
fn share_in(answer: Value) -> Option<(u64, usize, Vec<usize>)> {
    let numbers: Vec<u64> = redis::from_redis_value(answer).ok()?;
    let mut numbers = numbers.into_iter();
    let (time, share) = (numbers.next()?, numbers.next()?);
    let partitions = numbers.filter_map(|n| n.try_into().ok()).collect();
    Some((time, share.try_into().ok()?, partitions))
}

/// Removes entries that every group has read and acknowledged.
async fn trim(group: &Group) -> Result<(), TransportError> {
    let keys: Vec<_> = std::iter::once(&group.keys.trim)
        .chain(&group.keys.streams)
        .collect();
    let mut interval = millis(TRIM) - 100;
    loop {
        let mut call = scripts::TRIM.call(keys.iter());
        call.arg(interval);
        match group.link.run(&scripts::TRIM, &call).await? {
            Value::Int(removed) if removed >= TRIMMED => interval = 0,
            _ => return Ok(()),
        }
    }
}

async fn sweep(group: &Group) -> Result<(), TransportError> {
    let keys = [&group.keys.sweep, &group.keys.claims, &group.keys.done];
    let keys: Vec<_> = keys.into_iter().chain(&group.keys.streams).collect();
    let mut call = scripts::SWEEP.call(keys.into_iter());
    call.arg(millis(SWEEP) - 500);
    call.arg(&*group.subscription.group).arg(group.stretch);
    call.arg(millis(group.subscription.lease.max(IDLE)));
    group.link.run(&scripts::SWEEP, &call).await.map(drop)
}

impl State {
    /// Whether the caller still wants entries, or has some in hand.
    fn is_active(&self, lease: Duration) -> bool {
        let patience = lease.min(Duration::from_secs(3));
        self.wanted.is_some() || !self.held.is_empty() || self.asked.elapsed() < patience
    }

    /// The partitions that can be given up now: nothing of them is in hand or under way.
    fn given_up(&self) -> Vec<usize> {
        let fits = |n: &usize| {
            let stream = &self.streams[*n];
            let leaving = stream.owned.as_ref().is_some_and(|o| o.leaving);
            leaving && stream.held == 0 && stream.reading == 0
        };
        (1..self.streams.len()).filter(fits).collect()
    }

    /// Takes note of what the server says of each partition.
    fn set_partitions(&mut self, partitions: &[usize], until: Instant) {
        for (stream, is) in self.streams.iter_mut().skip(1).zip(partitions) {
            match (is, &mut stream.owned) {
                (1, Some(owned)) => owned.until = until,
                (0, _) => stream.disown(),
                // It was somebody else's, if only for a moment.
                _ => {
                    stream.disown();
                    stream.owned = Some(Owned::new(until));
                }
            }
        }
    }

    /// Begins to leave partitions that are more than its share, those with the least in hand first.
    /// Gives what was read of them and never handed out.
    fn leave_all_but(&mut self, share: usize) -> Places {
        let mut owned: Vec<_> = (1..self.streams.len())
            .filter(|n| self.streams[*n].owned.is_some())
            .collect();
        owned.sort_by_key(|n| {
            let stream = &self.streams[*n];
            let leaving = stream.owned.as_ref().is_some_and(|o| o.leaving);
            (leaving, std::cmp::Reverse(stream.held))
        });
        let mut unseen = Places::new();
        for (rank, n) in owned.into_iter().enumerate() {
            let stream = &mut self.streams[n];
            let leaving = rank >= share;
            if let Some(owned) = &mut stream.owned {
                if owned.leaving && !leaving {
                    owned.recover = Some(Default::default());
                    owned.reasons += 1;
                }
                owned.leaving = leaving;
            }
            if leaving && !stream.buffer.is_empty() {
                let ids = std::mem::take(&mut stream.buffer).into_keys().collect();
                unseen.insert(n, ids);
            }
        }
        unseen
    }

    /// What waits here and is still this member's, but not for long.
    fn renewable(&self, lease: Duration) -> Places {
        let now = Instant::now();
        let (soon, margin) = (now + lease * 2 / 3, now + lease / 10);
        let mut places = Places::new();
        for (n, stream) in self.streams.iter().enumerate() {
            let fits = |until: Instant| until < soon && until > margin;
            let ids: Vec<_> = stream
                .buffer
                .iter()
                .filter_map(|(id, buffered)| fits(buffered.until).then_some(*id))
                .collect();
            if !ids.is_empty() {
                places.insert(n, ids);
            }
        }
        places
    }

    fn renewed(&mut self, places: &Places, until: Instant) {
        for (n, ids) in places {
            for id in ids {
                if let Some(buffered) = self.streams[*n].buffer.get_mut(id) {
                    buffered.until = until;
                }
            }
        }
    }
}
