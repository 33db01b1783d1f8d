//! The thread that looks after a member's client.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::{
    Shared,
    events::{Change, Inbox},
    list,
};
use crate::assignment::Client;
use static_bus_remote::lock::lock;

/// How often the client is looked after, if nothing happens.
const IDLE: Duration = Duration::from_millis(50);
/// And if something is under way.
const BUSY: Duration = Duration::from_millis(10);
/// How long what is in flight of a partition that moves may take to be settled.
const GIVE_UP: Duration = Duration::from_secs(30);
/// How long commits may take then, and the end of a rebalance that is under way.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long the thread waits for the cluster.
const CALL: Duration = Duration::from_secs(2);

/// The thread.
pub(super) struct Membership {
    shared: Arc<Shared>,
    client: Arc<Client>,
    inbox: Arc<Inbox>,
    subscribed: bool,
    assigning: Option<Vec<i32>>,
    revoking: Option<Revoking>,
    leaving: Option<Leaving>,
    /// When it left last.
    left: Instant,
    check: Duration,
    checked: Instant,
}

struct Revoking {
    numbers: Vec<i32>,
    settle_until: Instant,
    commit_until: Instant,
}

struct Leaving {
    since: Instant,
}

impl Membership {
    /// Checks leases that often.
    pub fn new(shared: Arc<Shared>, client: Arc<Client>, check: Duration) -> Self {
        Membership {
            inbox: client.context().inbox(),
            shared,
            client,
            subscribed: false,
            assigning: None,
            revoking: None,
            leaving: None,
            left: Instant::now(),
            check,
            checked: Instant::now(),
        }
    }

    pub fn run(mut self) {
        while !self.step() {
            let pause = match self.is_busy() {
                true => BUSY,
                false => IDLE,
            };
            match self.client.poll(pause) {
                // Each partition has a queue of its own. If it has not, some of it may be out of order.
                Some(Ok(_)) => self.leave(),
                Some(Err(error)) => self.fail(error),
                None => {}
            }
        }
        *lock(&self.inbox.ending) = true;
        self.answer_changes();
        let mut assignment = self.shared.assignment();
        let numbers = assignment.numbers();
        assignment.remove(&numbers);
        assignment.client = None;
        drop(assignment);
        let (shared, client) = (self.shared, self.client);
        // The last one, as queues are gone with their partitions: it leaves the group.
        drop(client);
        shared.arrived.notify_one();
        shared.settled.send_replace(());
        shared.ended.send_replace(true);
    }

    /// The client waits for an answer to each change, and does not end without.
    fn answer_changes(&mut self) {
        let assigning = self.assigning.take().map(Change::Assign);
        let revoking = self.revoking.take().map(|of| Change::Revoke(of.numbers));
        let others = std::mem::take(&mut *lock(&self.inbox.changes));
        for change in assigning.into_iter().chain(revoking).chain(others) {
            // Nobody is left to be told if this fails.
            let _ = match change {
                Change::Assign(numbers) => self.client.incremental_assign(&self.list(&numbers)),
                Change::Revoke(numbers) => self.client.incremental_unassign(&self.list(&numbers)),
            };
        }
    }

    fn is_busy(&self) -> bool {
        let intent = *lock(&self.shared.intent);
        self.assigning.is_some()
            || self.revoking.is_some()
            || self.leaving.is_some()
            || intent.receives && !self.subscribed
    }

    /// Does what is to be done. Says whether this is the end.
    fn step(&mut self) -> bool {
        self.take_in_changes();
        self.revoke_late();
        self.check_leases();
        self.assign();
        self.give_up();
        let closes = lock(&self.shared.intent).closes;
        if closes && self.leaving.is_none() && self.subscribed {
            self.leave();
        }
        self.go();
        self.join();
        let mut assignment = self.shared.assignment();
        assignment.renew_holds();
        let commit = assignment.next_commit();
        drop(assignment);
        self.shared.commit_now(commit);
        closes && !self.subscribed
    }

    fn fail(&self, error: KafkaError) {
        // Connections come and go; only that there is none is worth telling.
        let code = error.rdkafka_error_code();
        if !matches!(code, Some(Code::BrokerTransportFailure | Code::Resolve)) {
            self.shared.assignment().error = Some(error);
            self.shared.arrived.notify_one();
        }
    }

    // ----- coming

    fn join(&mut self) {
        let receives = lock(&self.shared.intent).receives;
        let gone = self.shared.assignment().numbers().is_empty();
        let free = self.leaving.is_none() && self.revoking.is_none() && self.assigning.is_none();
        if !receives || self.subscribed || !gone || !free {
            return;
        }
        match self.client.subscribe(&[&self.shared.topic]) {
            Ok(()) => self.subscribed = true,
            Err(error) => self.fail(error),
        }
    }

    fn take_in_changes(&mut self) {
        while self.assigning.is_none() && self.revoking.is_none() {
            let Some(change) = lock(&self.inbox.changes).pop_front() else {
                return;
            };
            match change {
                Change::Assign(numbers) => self.assigning = Some(numbers),
                Change::Revoke(numbers) => self.revoke(numbers),
            }
        }
    }

    fn revoke(&mut self, numbers: Vec<i32>) {
        self.shared.assignment().stop(&numbers);
        let settle_until = Instant::now() + GIVE_UP;
        self.revoking = Some(Revoking {
            numbers,
            settle_until,
            commit_until: settle_until + FAREWELL,
        });
    }

    /// Gives up what the client was given although it had left, if nobody says that it is to go.
    fn revoke_late(&mut self) {
        let waits = self.subscribed || self.assigning.is_some() || self.revoking.is_some();
        if waits || self.left.elapsed() < FAREWELL {
            return;
        }
        let late = self.shared.assignment().numbers();
        if !late.is_empty() {
            self.revoke(late);
        }
    }

    /// Takes partitions over where their last owner has left them.
    fn assign(&mut self) {
        let Some(numbers) = self.assigning.take() else {
            return;
        };
        let left = lock(&self.inbox.changes).iter().any(Change::is_revoke);
        let committed = self.client.committed_offsets(self.list(&numbers), CALL);
        let committed = committed.and_then(|list| {
            let mut places = list.elements().into_iter();
            places.try_for_each(|place| place.error()).map(|()| list)
        });
        let list = match committed {
            Ok(list) => list,
            // They are about to go again: where they begin does not matter.
            Err(_) if left => self.list(&numbers),
            Err(error) => {
                self.fail(error);
                self.assigning = Some(numbers);
                return;
            }
        };
        for place in list.elements() {
            let number = place.partition();
            let done = match place.offset() {
                Offset::Offset(position) => (position, place.metadata()),
                _ => (0, ""),
            };
            let queue = self
                .client
                .split_partition_queue(&self.shared.topic, number);
            let Some(mut queue) = queue else { continue };
            let shared = Arc::downgrade(&self.shared);
            queue.set_nonempty_callback(move || {
                if let Some(shared) = shared.upgrade() {
                    shared.arrived.notify_one();
                }
            });
            self.shared.assignment().add(number, done, queue);
        }
        if let Err(error) = self.client.incremental_assign(&list) {
            self.shared.assignment().remove(&numbers);
            self.fail(error);
            self.leave();
        }
        if self.leaving.is_some() || left || !self.subscribed {
            self.shared.assignment().close(&numbers);
        }
        self.shared.arrived.notify_one();
    }

    // ----- going

    fn check_leases(&mut self) {
        if self.checked.elapsed() < self.check {
            return;
        }
        self.checked = Instant::now();
        let run_out = self.shared.assignment().run_out();
        let moving = self.revoking.as_ref().map(|of| &of.numbers);
        let (moving, kept): (Vec<_>, Vec<_>) = run_out
            .into_iter()
            .partition(|number| moving.is_some_and(|moving| moving.contains(number)));
        self.shared.assignment().close(&moving);
        if !kept.is_empty() {
            self.leave();
        }
    }

    /// Gives up all that is in flight, and leaves the group as soon as the rest is committed.
    fn leave(&mut self) {
        let mut assignment = self.shared.assignment();
        let numbers = assignment.numbers();
        assignment.close(&numbers);
        if self.leaving.is_none() {
            lock(&self.shared.intent).receives = false;
            self.leaving = Some(Leaving {
                since: Instant::now(),
            });
            // Whoever waits for records still wants to.
            self.shared.arrived.notify_one();
        }
    }

    fn go(&mut self) {
        let Some(leaving) = &self.leaving else { return };
        let assignment = self.shared.assignment();
        let quiet = assignment.is_quiet(&assignment.numbers());
        drop(assignment);
        let told = *lock(&self.inbox.joining);
        let joining = told.is_none_or(|(at, joining)| at < leaving.since || joining);
        if quiet && !joining || leaving.since.elapsed() > FAREWELL {
            self.client.unsubscribe();
            (self.subscribed, self.leaving) = (false, None);
            self.left = Instant::now();
        }
    }

    /// Gives up partitions that move, when nothing of them is in flight any more.
    fn give_up(&mut self) {
        let Some(revoking) = &mut self.revoking else {
            return;
        };
        let numbers = revoking.numbers.clone();
        let mut assignment = self.shared.assignment();
        let now = Instant::now();
        let lost = self.client.assignment_lost();
        if assignment.in_flight(&numbers) > 0 && now < revoking.settle_until && !lost {
            return;
        }
        assignment.close(&numbers);
        revoking.settle_until = now;
        revoking.commit_until = revoking.commit_until.min(now + FAREWELL);
        if !assignment.is_quiet(&numbers) && now < revoking.commit_until && !lost {
            return;
        }
        assignment.remove(&numbers);
        let commit = assignment.next_commit();
        drop(assignment);
        self.shared.commit_now(commit);
        self.revoking = None;
        if let Err(error) = self.client.incremental_unassign(&self.list(&numbers)) {
            self.fail(error);
        }
        self.shared.settled.send_replace(());
        self.shared.arrived.notify_one();
    }

    fn list(&self, numbers: &[i32]) -> TopicPartitionList {
        list(&self.shared.topic, numbers)
    }
}
