//! The thread that polls the client of a member, and follows the rebalances of its group.
//!
//! The thread has two states: the [`Phase`] of the membership, and the [`Rebalance`] that the client waits for.
//!
//! ```text
//!   Left ── receive ──> Joined ── close, a lease runs out, or the client stands still ──> Leaving
//!   Leaving ── all is committed ──> Left
//!
//!   Idle ── assignment ──> Assigning ── the position is known ──────────> Idle
//!   Idle ── revocation ──> Revoking ── all is settled and committed ────> Idle
//! ```

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaError};

use super::{Membership, detour::Detour};
use crate::{
    assignment::Progress,
    clients, errors,
    events::{Change, Client, Events},
    offsets::{REQUEST_TIMEOUT, list},
};
use static_bus_remote::{lock::lock, transport::TransportErrorKind};

/// The poll timeout while nothing is in progress.
const IDLE_POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// The poll timeout while the member joins, leaves or rebalances.
const BUSY_POLL_TIMEOUT: Duration = Duration::from_millis(10);
/// The greatest time for which a partition that moves waits until its leased records are settled.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The time for which a partition that moves waits before the other partitions make a detour.
const DETOUR_DELAY: Duration = Duration::from_secs(1);
/// The time before the end of `SETTLE_TIMEOUT` in which records of a detour are settled.
const DETOUR_SETTLE_TIME: Duration = Duration::from_secs(5);
/// The greatest time for which a partition that moves then waits until its records are committed.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// The greatest time for which a member that leaves waits until all is committed and no rebalance is in progress.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time after which partitions are revoked that were assigned to a member that has left.
const LATE_ASSIGNMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The thread of a member.
pub(super) struct MemberThread<P: Progress> {
    membership: Arc<Membership<P>>,
    client: Arc<Client>,
    events: Events,
    phase: Phase,
    rebalance: Rebalance,
    /// `true` if another client is to join the group.
    replaces_client: bool,
    lease_check_interval: Duration,
    leases_checked: Instant,
}

/// The phase of the membership.
enum Phase {
    /// The client is not subscribed, since this time.
    Left(Instant),
    /// The client is subscribed.
    Joined,
    /// All leases have ended at this time, and the acknowledged records are being committed.
    Leaving(Instant),
}

/// The change of the assignment that is in progress.
#[derive(Default)]
enum Rebalance {
    #[default]
    Idle,
    /// New partitions whose committed positions are to be read, since this time.
    Assigning(Vec<i32>, Instant),
    /// Partitions that are given up as soon as their records are settled and committed.
    Revoking {
        numbers: Vec<i32>,
        settle_until: Instant,
        commit_until: Instant,
        detour_from: Instant,
        detour: Option<Detour>,
    },
}

impl<P: Progress> MemberThread<P> {
    pub fn new(membership: Arc<Membership<P>>, client: Arc<Client>) -> Self {
        let lease_check_interval = membership.assignment().lease_check_interval();
        MemberThread {
            events: (**client.context()).clone(),
            lease_check_interval,
            membership,
            client,
            phase: Phase::Left(Instant::now()),
            rebalance: Rebalance::Idle,
            replaces_client: false,
            leases_checked: Instant::now(),
        }
    }

    /// Runs until the member is closed and has left its group.
    pub fn run(mut self) {
        while !self.step() {
            let timeout = match self.is_busy() {
                true => BUSY_POLL_TIMEOUT,
                false => IDLE_POLL_TIMEOUT,
            };
            match self.client.poll(timeout) {
                // Each partition has a queue of its own. Records of one that has none may be out of order.
                Some(Ok(_)) => self.leave(),
                Some(Err(error)) => self.fail(error),
                None => {}
            }
        }
        self.events.end();
        self.confirm_changes();
        self.membership.assignment().end();
        let MemberThread {
            membership, client, ..
        } = self;
        // The last reference, because the queues of all partitions are dropped: the client leaves the group.
        drop(client);
        membership.arrived.notify_one();
        membership.commit_ended.send_replace(());
        membership.ended.send_replace(true);
    }

    /// Confirms all changes of the assignment: the client does not end before.
    fn confirm_changes(&mut self) {
        let current = match mem::take(&mut self.rebalance) {
            Rebalance::Idle => None,
            Rebalance::Assigning(numbers, _) => Some(Change::Assign(numbers)),
            Rebalance::Revoking { numbers, .. } => Some(Change::Revoke(numbers)),
        };
        let events = self.events.clone();
        let waiting = std::iter::from_fn(|| events.next_change());
        for change in current.into_iter().chain(waiting) {
            // The client is about to be dropped: an error has no consequence.
            let _ = match change {
                Change::Assign(numbers) => self.client.incremental_assign(&self.list(&numbers)),
                Change::Revoke(numbers) => self.client.incremental_unassign(&self.list(&numbers)),
            };
        }
    }

    fn is_busy(&self) -> bool {
        let is_rebalancing = !matches!(self.rebalance, Rebalance::Idle);
        is_rebalancing
            || match self.phase {
                Phase::Left(_) => lock(&self.membership.intent).receives,
                Phase::Joined => false,
                Phase::Leaving(_) => true,
            }
    }

    /// Performs all transitions that are possible now. Returns whether the member has left for good.
    fn step(&mut self) -> bool {
        self.begin_rebalance();
        self.revoke_late_assignment();
        self.check_leases();
        self.resolve_doubt();
        self.resolve_standstill();
        self.assign();
        self.give_up();
        let closes = lock(&self.membership.intent).closes;
        if closes && matches!(self.phase, Phase::Joined) {
            self.leave();
        }
        self.unsubscribe();
        self.join();
        self.membership.commit();
        closes && matches!(self.phase, Phase::Left(_))
    }

    /// Passes a failure of the client to the next `receive`.
    fn fail(&self, error: KafkaError) {
        if !errors::is_lost_connection(&error) {
            self.membership.assignment().fail(error);
            self.membership.arrived.notify_one();
        }
    }

    // ----- the phase

    /// `Left` to `Joined`.
    fn join(&mut self) {
        let receives = lock(&self.membership.intent).receives;
        let can_join = matches!(
            (&self.phase, &self.rebalance),
            (Phase::Left(_), Rebalance::Idle)
        );
        if !receives || !can_join || !self.membership.assignment().numbers().is_empty() {
            return;
        }
        if mem::take(&mut self.replaces_client) {
            self.replace_client();
        }
        match self.client.subscribe(&[&self.membership.topic]) {
            Ok(()) => self.phase = Phase::Joined,
            Err(error) => self.fail(error),
        }
    }

    /// Exchanges the client for a new one. If none can be started, the old one joins again.
    fn replace_client(&mut self) {
        let Membership {
            cluster, config, ..
        } = &*self.membership;
        let Ok(client) = super::client(cluster, config) else {
            return;
        };
        self.events.end();
        self.confirm_changes();
        self.events = (**client.context()).clone();
        self.membership.assignment().replace_client(client.clone());
        clients::end(mem::replace(&mut self.client, client));
    }

    /// `Joined` to `Leaving`: ends all leases.
    fn leave(&mut self) {
        let mut assignment = self.membership.assignment();
        let numbers = assignment.numbers();
        assignment.close(&numbers);
        drop(assignment);
        self.begin_to_leave();
    }

    /// `Joined` to `Leaving`.
    fn begin_to_leave(&mut self) {
        if matches!(self.phase, Phase::Leaving(_)) {
            return;
        }
        self.phase = Phase::Leaving(Instant::now());
        lock(&self.membership.intent).receives = false;
        // A waiting `receive` sets the intent again.
        self.membership.arrived.notify_one();
    }

    /// `Leaving` to `Left`, when all is committed and the client is not joining the group.
    fn unsubscribe(&mut self) {
        let Phase::Leaving(since) = self.phase else {
            return;
        };
        let assignment = self.membership.assignment();
        let is_committed = assignment.is_committed(&assignment.numbers());
        drop(assignment);
        if is_committed && !self.events.may_be_joining(since) || since.elapsed() > LEAVE_TIMEOUT {
            self.client.unsubscribe();
            self.phase = Phase::Left(Instant::now());
        }
    }

    /// Leaves the group if a lease has run out, unless its partition is being given up.
    fn check_leases(&mut self) {
        if self.leases_checked.elapsed() < self.lease_check_interval {
            return;
        }
        self.leases_checked = Instant::now();
        let expired = self.membership.assignment().with_expired_leases();
        let is_revoked = |number: &i32| match &self.rebalance {
            Rebalance::Revoking { numbers, .. } => numbers.contains(number),
            _ => false,
        };
        let (revoked, kept): (Vec<_>, Vec<_>) = expired.into_iter().partition(is_revoked);
        self.membership.assignment().close(&revoked);
        if !kept.is_empty() {
            self.leave();
        }
    }

    /// Leaves the group if partitions were given up after a commit: the next assignment begins at the committed positions.
    fn resolve_doubt(&mut self) {
        let is_in_doubt = self.membership.assignment().take_doubt();
        if is_in_doubt && matches!(self.phase, Phase::Joined) {
            self.leave();
        }
    }

    /// Leaves the group if the client fetches no more. Clients of `librdkafka` are reported to stop now and then after a
    /// restart of a server. The leases go on: the partitions are given up as soon as their records are settled.
    fn resolve_standstill(&mut self) {
        let mut assignment = self.membership.assignment();
        let state = (&self.phase, &self.rebalance);
        let stands_still = assignment.take_standstill();
        if stands_still && matches!(state, (Phase::Joined, Rebalance::Idle)) {
            let numbers = assignment.numbers();
            assignment.stop(&numbers);
            drop(assignment);
            self.replaces_client = true;
            self.begin_to_leave();
        }
    }

    // ----- the rebalance

    /// `Idle` to `Assigning` or `Revoking`.
    fn begin_rebalance(&mut self) {
        if !matches!(self.rebalance, Rebalance::Idle) {
            return;
        }
        match self.events.next_change() {
            Some(Change::Assign(numbers)) => {
                self.rebalance = Rebalance::Assigning(numbers, Instant::now());
            }
            Some(Change::Revoke(numbers)) => self.revoke(numbers),
            None => {}
        }
    }

    /// `Idle` to `Revoking`.
    fn revoke(&mut self, numbers: Vec<i32>) {
        self.membership.assignment().stop(&numbers);
        let now = Instant::now();
        self.rebalance = Rebalance::Revoking {
            numbers,
            settle_until: now + SETTLE_TIMEOUT,
            commit_until: now + SETTLE_TIMEOUT + COMMIT_TIMEOUT,
            detour_from: now + DETOUR_DELAY,
            detour: None,
        };
    }

    /// Revokes partitions that the client was assigned when it had left, if it does not revoke them itself.
    fn revoke_late_assignment(&mut self) {
        let (Phase::Left(since), Rebalance::Idle) = (&self.phase, &self.rebalance) else {
            return;
        };
        if since.elapsed() < LATE_ASSIGNMENT_TIMEOUT {
            return;
        }
        let late = self.membership.assignment().numbers();
        if !late.is_empty() {
            self.revoke(late);
        }
    }

    /// `Assigning` to `Idle`: starts partitions at their committed positions. Stays in `Assigning` if the positions
    /// cannot be read. That is a failure of `receive` when the cluster refuses, or after the deadline: a cluster with
    /// many new members answers late.
    fn assign(&mut self) {
        let Rebalance::Assigning(numbers, since) = &self.rebalance else {
            return;
        };
        let (numbers, since) = (numbers.clone(), *since);
        let is_revoked = self.events.has_revocation();
        let committed = self
            .client
            .committed_offsets(self.list(&numbers), REQUEST_TIMEOUT);
        let committed = committed.and_then(|list| {
            let mut places = list.elements().into_iter();
            places.try_for_each(|place| place.error()).map(|()| list)
        });
        let (list, is_known) = match committed {
            Ok(list) => (list, true),
            // Partitions that are about to be revoked need no position.
            Err(_) if is_revoked => (self.list(&numbers), false),
            Err(error) => {
                let cluster = &self.membership.cluster;
                let kind = cluster.error("receiving", &error).kind();
                let may_succeed = kind == TransportErrorKind::Unreachable;
                if !may_succeed || since.elapsed() >= cluster.settings().deadline() {
                    self.fail(error);
                }
                return;
            }
        };
        self.end_rebalance();
        for place in list.elements() {
            let committed = match place.offset() {
                Offset::Offset(position) => (position, place.metadata()),
                _ => (0, ""),
            };
            self.add(place.partition(), is_known.then_some(committed));
        }
        if let Err(error) = self.client.incremental_assign(&list) {
            self.membership.assignment().remove(&numbers);
            self.fail(error);
            self.leave();
        }
        if is_revoked || !matches!(self.phase, Phase::Joined) {
            self.membership.assignment().close(&numbers);
        }
        self.membership.arrived.notify_one();
    }

    /// To `Idle`. Until now the client has fetched nothing.
    fn end_rebalance(&mut self) {
        self.rebalance = Rebalance::Idle;
        self.membership.assignment().forget_unfetched();
    }

    /// Adds a partition with its committed position and metadata, if they are known.
    fn add(&self, number: i32, committed: Option<(i64, &str)>) {
        if let Some(queue) = self.membership.queue(&self.client, number) {
            self.membership.assignment().add(number, committed, queue);
        }
    }

    /// `Revoking` to `Idle`, when all records are settled and committed, or in time.
    fn give_up(&mut self) {
        let Rebalance::Revoking {
            numbers,
            settle_until,
            commit_until,
            detour_from,
            detour,
        } = &mut self.rebalance
        else {
            return;
        };
        let mut assignment = self.membership.assignment();
        let now = Instant::now();
        let is_lost = self.client.assignment_lost();
        if assignment.in_flight(numbers) > 0 && now < *settle_until && !is_lost {
            let settles = now + DETOUR_SETTLE_TIME >= *settle_until;
            match detour {
                Some(detour) => {
                    if detour.has_stray_message() {
                        drop(assignment);
                        return self.leave();
                    }
                    if settles || assignment.in_flight(&detour.held) == 0 {
                        assignment.stop(numbers);
                    }
                }
                None if settles || now < *detour_from => {}
                None => {
                    let mut held = numbers.clone();
                    held.retain(|number| assignment.in_flight(&[*number]) > 0);
                    drop(assignment);
                    match Detour::begin(&self.membership, held) {
                        Ok(begun) => *detour = Some(begun),
                        Err(_) => *detour_from = now + DETOUR_DELAY,
                    }
                }
            }
            return;
        }
        assignment.close(numbers);
        *settle_until = now;
        *commit_until = (*commit_until).min(now + COMMIT_TIMEOUT);
        if !assignment.is_committed(numbers) && now < *commit_until && !is_lost {
            return;
        }
        let numbers = mem::take(numbers);
        assignment.remove(&numbers);
        assignment.end_detours();
        drop(assignment);
        self.end_rebalance();
        self.membership.commit();
        if let Err(error) = self.client.incremental_unassign(&self.list(&numbers)) {
            self.fail(error);
        }
        self.membership.commit_ended.send_replace(());
        self.membership.arrived.notify_one();
    }

    fn list(&self, numbers: &[i32]) -> TopicPartitionList {
        list(&self.membership.topic, numbers.iter().copied())
    }
}
