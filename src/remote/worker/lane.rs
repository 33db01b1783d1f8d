//! One lane for each message that is served: from the broker, through the handler, and back.
//!
//! A lane is one task. It holds up to a window of messages. What is ready is begun as far as there
//! are slots; what a handler does not finish at once goes into a task of its own. Meanwhile the lane
//! takes the next batch in and acknowledges the last one. The leases of what it holds are renewed by a
//! task of their own.
//!
//! ```text
//!             ┌ claim later ┐              ┌ attempt later ┐
//!   intake ───┴─────────────┴─ ready ── running ───────────┴─ done ── acknowledged
//!                                │         └─ dead letter ──── ┘
//!                                └─ behind another of its key
//! ```

mod closing;
mod failure;

use std::{
    collections::{BinaryHeap, HashMap, VecDeque, hash_map::Entry},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    Settings,
    health::{Report, Task},
    intake::{self, Asking, Taken},
    item::{Due, Item, Later},
    leases::Leases,
    meter::Meter,
    serve::{Served, Work},
};
use crate::asynchronous::BusError;
use crate::remote::{
    Envelope, TransportError, dead_letters,
    outbound::Outbound,
    reply, retry,
    transport::{Claim, Consumer, Kind, Lease},
};

use failure::{Failure, text_of};

/// How many handlers that finish at once are run before the lane looks around.
const STRIDE: usize = 128;
/// A handler that took longer without waiting gets a task of its own, and so do those after it.
const LONG: Duration = Duration::from_micros(200);
/// So many may be stuck before a lane takes in fewer.
const STUCK: usize = 16 * 1024;
/// How long what is done may take to be acknowledged at the end.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// What a lane works with.
pub(super) struct Surroundings<C> {
    pub(super) consumer: Arc<C>,
    pub(super) served: Served,
    pub(super) meter: Meter,
    pub(super) settings: Settings,
    pub(super) member: Arc<str>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) outbound: Outbound,
    pub(super) report: Report,
    pub(super) draining: watch::Receiver<Option<Instant>>,
}

/// What a lane left when it ended.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) finished: usize,
    pub(super) cancelled: usize,
    pub(super) released: usize,
}

pub(super) struct Lane<C: Consumer> {
    with: Surroundings<C>,
    asking: Arc<Asking>,
    ended: Ended,

    /// How many messages are here, from intake to acknowledgement.
    here: usize,
    /// None of queries.
    leases: Option<Leases<C>>,
    /// What has come in and waits for nobody.
    next: VecDeque<Taken<C::Receipt>>,
    ready: VecDeque<Item<C::Receipt>>,
    /// The keys of which a message is on its way, and those that came in behind it.
    behind: HashMap<Arc<str>, Behind<C::Receipt>>,
    later: BinaryHeap<Later<C::Receipt>>,
    /// How many are in `later` or behind one that is.
    stuck: usize,
    turn: u64,
    to_claim: Vec<Item<C::Receipt>>,
    running: JoinSet<Result<Bytes, BusError>>,
    in_running: HashMap<Id, (Item<C::Receipt>, Slot, Instant)>,
    burying: JoinSet<()>,
    in_burying: HashMap<Id, Item<C::Receipt>>,
    done: Vec<Lease<C::Receipt>>,
    /// Their claims are given up when they are acknowledged.
    given_up: Vec<Lease<C::Receipt>>,
    /// Given back when the lane closes.
    back: Vec<Lease<C::Receipt>>,

    taking: Ongoing<Result<Vec<Taken<C::Receipt>>, TransportError>>,
    claiming: Ongoing<(Vec<Item<C::Receipt>>, Vec<Option<Claim>>)>,
    acknowledging: Ongoing<(Settling<C::Receipt>, Result<(), TransportError>)>,
    asking_for_slot: Ongoing<Slot>,

    own_slot: Option<Slot>,
    spare_slot: Option<Slot>,
    /// Whether the last handler finished at once.
    quick: bool,
    /// How many of the next handlers get a task of their own without a try.
    long: usize,
    closing: bool,
    backoff: retry::Backoff,
    take_again: Instant,
    acknowledge_again: Instant,
}

/// What is being acknowledged.
struct Settling<R> {
    done: Vec<Lease<R>>,
    given_up: Vec<Lease<R>>,
}

/// Those that wait for one of their key, in order.
struct Behind<R> {
    queue: VecDeque<Taken<R>>,
    /// Whether that one is in `later`.
    stuck: bool,
}

/// Something under way, if it is.
type Ongoing<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// The right to run a handler: the one that each lane has of its own, or one of those for all.
enum Slot {
    Own,
    Shared(#[expect(dead_code, reason = "held until dropped")] OwnedSemaphorePermit),
}

impl<C: Consumer> Lane<C> {
    pub(super) fn new(with: Surroundings<C>) -> Self {
        let now = Instant::now();
        let is_query = with.served.topic.kind == Kind::Query;
        Lane {
            asking: Arc::new(Asking {
                message: with.served.message,
                group: (*with.served.group).into(),
                claiming: !is_query && with.settings.deduplication.is_some(),
            }),
            leases: (!is_query).then(|| {
                let consumer = with.consumer.clone();
                Leases::new(consumer, with.settings.lease, with.report.clone())
            }),
            with,
            ended: Ended::default(),
            here: 0,
            next: VecDeque::new(),
            ready: VecDeque::new(),
            behind: HashMap::new(),
            later: BinaryHeap::new(),
            stuck: 0,
            turn: 0,
            to_claim: Vec::new(),
            running: JoinSet::new(),
            in_running: HashMap::new(),
            burying: JoinSet::new(),
            in_burying: HashMap::new(),
            done: Vec::new(),
            given_up: Vec::new(),
            back: Vec::new(),
            taking: None,
            claiming: None,
            acknowledging: None,
            asking_for_slot: None,
            own_slot: Some(Slot::Own),
            spare_slot: None,
            quick: false,
            long: 0,
            closing: false,
            backoff: retry::reconnect(),
            take_again: now,
            acknowledge_again: now,
        }
    }

    pub(super) async fn run(mut self) -> Ended {
        while self.with.draining.borrow().is_none() {
            self.start_taking();
            self.start_claiming();
            self.start_ready();
            self.step(None).await;
        }
        self.close().await
    }

    /// Keeps what is under way going, until something has happened or it is time.
    async fn step(&mut self, until: Option<Instant>) {
        self.start_acknowledging();
        let timers = [
            self.later.peek().map(|later| later.at),
            self.can_take().then_some(self.take_again),
            (!self.done.is_empty() && self.acknowledging.is_none())
                .then_some(self.acknowledge_again),
            until,
        ];
        let next = timers.into_iter().flatten().min();
        tokio::select! {
            taken = ended(&mut self.taking) => self.on_taken(taken),
            (items, claims) = ended(&mut self.claiming) => {
                self.on_claimed(items, claims);
            }
            (settling, result) = ended(&mut self.acknowledging) => {
                self.on_acknowledged(settling, result);
            }
            slot = ended(&mut self.asking_for_slot) => self.spare_slot = Some(slot),
            Some(ended) = self.running.join_next_with_id() => self.on_ended(ended),
            Some(ended) = self.burying.join_next_with_id() => self.on_buried(ended),
            () = at(next) => self.on_time(),
            _ = self.with.draining.changed(), if !self.closing => {}
            () = tokio::task::yield_now(), if !self.closing && self.can_start() => {}
        }
    }

    // ----- in

    fn is_query(&self) -> bool {
        self.with.served.topic.kind == Kind::Query
    }

    /// How many more messages may be here. Where handlers take time, not many more than run: those
    /// that wait here could be handled elsewhere. Those that are stuck leave room for others, or
    /// they would hold up everything.
    fn room(&self) -> usize {
        let limit = self.with.served.limit;
        let window = if self.quick {
            limit.max(512) * 2
        } else {
            limit * 2
        };
        let left = window.saturating_sub(self.here - self.stuck);
        left.min((STUCK + window).saturating_sub(self.here))
    }

    /// Whether a batch may be taken in; not for a few, because a batch is cheaper.
    fn can_take(&self) -> bool {
        let enough = self.with.served.limit.min(64);
        self.taking.is_none() && !self.closing && self.room() >= enough
    }

    fn start_taking(&mut self) {
        if self.can_take() && Instant::now() >= self.take_again {
            let (consumer, asking) = (self.with.consumer.clone(), self.asking.clone());
            let draining = self.with.draining.clone();
            let (most, report) = (self.room().min(512), self.with.report.clone());
            let take = intake::take(consumer, asking, most, report, draining);
            self.taking = Some(Box::pin(take));
        }
    }

    fn on_taken(&mut self, taken: Result<Vec<Taken<C::Receipt>>, TransportError>) {
        match taken {
            Ok(taken) => {
                self.backoff.reset();
                self.with.report.of(Task::Receive, Ok(()));
                self.hold(&taken);
                for taken in taken {
                    self.enter(taken);
                }
            }
            Err(error) => {
                self.with.report.of(Task::Receive, Err(error));
                self.take_again = Instant::now() + self.backoff.next();
            }
        }
    }

    fn enter(&mut self, taken: Taken<C::Receipt>) {
        self.here += 1;
        let Some(key) = taken.item().record.key.clone() else {
            return self.next.push_back(taken);
        };
        match self.behind.entry(key) {
            Entry::Occupied(mut behind) => {
                let behind = behind.get_mut();
                self.stuck += usize::from(behind.stuck);
                behind.queue.push_back(taken);
            }
            Entry::Vacant(free) => {
                free.insert(Behind {
                    queue: VecDeque::new(),
                    stuck: false,
                });
                self.next.push_back(taken);
            }
        }
    }

    /// Sees to it that leases are renewed.
    fn hold(&self, taken: &[Taken<C::Receipt>]) {
        if let Some(leases) = &self.leases {
            leases.hold(taken.iter().map(|taken| &taken.item().lease));
        }
    }

    fn let_go(&self, leases: &[Lease<C::Receipt>]) {
        if let Some(held) = &self.leases {
            held.let_go(leases);
        }
    }

    fn sort_next(&mut self) {
        while let Some(taken) = self.next.pop_front() {
            match taken {
                Taken::Handle(item) if item.before >= self.with.settings.retries.attempts => {
                    self.bury(item);
                }
                Taken::Handle(item) => self.ready.push_back(item),
                Taken::ClaimLater(item) => {
                    let wait = self.with.settings.lease / 4;
                    let bounds = (Duration::from_millis(20), Duration::from_secs(1));
                    self.wait(wait.clamp(bounds.0, bounds.1), Due::Claim, item);
                }
                Taken::Duplicate(item) => {
                    self.with.meter.duplicates.increment(1);
                    self.settle(item);
                }
                Taken::NotForUs(item) => self.settle(item),
                Taken::Unreadable(item, error) => self.unreadable(item, error),
                Taken::Unknown(item, _) if self.is_query() => {
                    self.reply(&item, reply::Outcome::NoHandler);
                    self.settle(item);
                }
                Taken::Unknown(item, error) => self.unreadable(item, error),
            }
        }
    }

    fn wait(&mut self, time: Duration, what: Due, item: Item<C::Receipt>) {
        self.turn += 1;
        self.stuck += self.set_stuck(&item, true);
        self.later.push(Later {
            at: Instant::now() + time,
            turn: self.turn,
            what,
            item,
        });
    }

    /// Says of how many this is true: the item, and those behind it.
    fn set_stuck(&mut self, item: &Item<C::Receipt>, stuck: bool) -> usize {
        let key = item.record.key.as_ref();
        let Some(behind) = key.and_then(|key| self.behind.get_mut(key)) else {
            return 1;
        };
        behind.stuck = stuck;
        1 + behind.queue.len()
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        while self.later.peek().is_some_and(|later| later.at <= now)
            && let Some(Later { what, item, .. }) = self.later.pop()
        {
            self.stuck -= self.set_stuck(&item, false);
            match what {
                Due::Attempt => self.ready.push_back(item),
                Due::Claim => self.to_claim.push(item),
            }
        }
    }

    fn start_claiming(&mut self) {
        if self.claiming.is_none() && !self.to_claim.is_empty() {
            let items = std::mem::take(&mut self.to_claim);
            let (consumer, report) = (self.with.consumer.clone(), self.with.report.clone());
            self.claiming = Some(Box::pin(async move {
                let keys: Vec<_> = items.iter().map(|item| item.key.clone()).collect();
                let claims = intake::claim(&*consumer, &keys, &report).await;
                (items, claims)
            }));
        }
    }

    fn on_claimed(&mut self, items: Vec<Item<C::Receipt>>, claims: Vec<Option<Claim>>) {
        let judged = items.into_iter().zip(claims);
        let judged: Vec<_> = judged
            .map(|(item, claim)| intake::judge(item, claim))
            .collect();
        self.hold(&judged);
        self.next.extend(judged);
    }

    // ----- through

    fn can_start(&self) -> bool {
        !self.next.is_empty()
            || !self.ready.is_empty()
                && self.in_running.len() < self.with.served.limit
                && (self.own_slot.is_some()
                    || self.spare_slot.is_some()
                    || self.asking_for_slot.is_none())
    }

    fn start_ready(&mut self) {
        for _ in 0..STRIDE {
            self.sort_next();
            if self.ready.is_empty() || self.in_running.len() >= self.with.served.limit {
                // Others may need the slot that this lane has asked for.
                (self.spare_slot, self.asking_for_slot) = (None, None);
                return;
            }
            let Some(slot) = self.slot() else { return };
            let Some(item) = self.ready.pop_front() else {
                return;
            };
            self.start(item, slot);
        }
    }

    fn slot(&mut self) -> Option<Slot> {
        if let Some(slot) = self.own_slot.take().or_else(|| self.spare_slot.take()) {
            return Some(slot);
        }
        if self.asking_for_slot.is_none() {
            let slots = self.with.slots.clone();
            if let Ok(permit) = slots.clone().try_acquire_owned() {
                return Some(Slot::Shared(permit));
            }
            self.asking_for_slot = Some(Box::pin(async move {
                match slots.acquire_owned().await {
                    Ok(permit) => Slot::Shared(permit),
                    Err(_) => std::future::pending().await,
                }
            }));
        }
        None
    }

    /// Frees a slot.
    fn vacate(&mut self, slot: Slot) {
        if let Slot::Own = slot {
            self.own_slot = Some(slot);
        }
    }

    fn start(&mut self, mut item: Item<C::Receipt>, slot: Slot) {
        // Only a query has a caller who waits: of a command, an attribute of that name means nothing.
        let deadline = item.deadline.filter(|_| self.is_query());
        let left = deadline.map(|at| at.duration_since(Timestamp::now()));
        if left.is_some_and(|left| !left.is_positive()) {
            self.vacate(slot);
            return self.settle(item);
        }
        let mut work = match self.begin(&item) {
            Ok(work) => work,
            Err(error) => {
                self.vacate(slot);
                return self.unreadable(item, error);
            }
        };
        item.begun += 1;
        let started = Instant::now();
        if self.long > 0 {
            self.long -= 1;
        } else if let Poll::Ready(result) = try_at_once(&mut work) {
            self.quick = started.elapsed() <= LONG;
            if !self.quick {
                self.long = STRIDE;
            }
            self.vacate(slot);
            return self.on_handled(item, result, started);
        } else {
            self.quick = false;
        }
        let message = self.with.served.message;
        let work = async move {
            match left.and_then(|left| Duration::try_from(left).ok()) {
                Some(after) => tokio::time::timeout(after, work)
                    .await
                    .unwrap_or(Err(BusError::Timeout { message, after })),
                None => work.await,
            }
        };
        let id = self.running.spawn(work).id();
        self.in_running.insert(id, (item, slot, started));
    }

    /// Reads a message. What runs then is the user's, as its handler is, and may panic.
    fn begin(&self, item: &Item<C::Receipt>) -> Result<Work, String> {
        let begin = || self.with.served.begin(item.record.clone(), item.codec);
        match catch_unwind(AssertUnwindSafe(begin)) {
            Ok(begun) => begun.map_err(|error| error.to_string()),
            Err(panic) => Err(format!("a panic: {}", text_of(&*panic))),
        }
    }

    fn on_ended(&mut self, ended: Result<(Id, Result<Bytes, BusError>), JoinError>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result.map_err(Failure::from)),
            Err(error) => (error.id(), Err(Failure::panicked(error))),
        };
        if let Some((item, slot, started)) = self.in_running.remove(&id) {
            self.vacate(slot);
            self.on_handled(item, result, started);
        }
    }

    fn on_handled(
        &mut self,
        mut item: Item<C::Receipt>,
        result: Result<Bytes, Failure>,
        started: Instant,
    ) {
        let meter = &self.with.meter;
        meter.handler_seconds.record(started.elapsed());
        match &result {
            Ok(_) => meter.processed.increment(1),
            Err(_) => meter.failed.increment(1),
        }
        self.ended.finished += usize::from(self.closing);
        if self.is_query() {
            self.reply(
                &item,
                result.map_or_else(Failure::outcome, reply::Outcome::Answer),
            );
            return self.settle(item);
        }
        let Err(failure) = result else {
            return self.settle(item);
        };
        item.fail(failure.error);
        let retries = self.with.settings.retries;
        let failed = if failure.by_broker {
            item.begun -= 1;
            item.failed_by_broker = item.failed_by_broker.saturating_add(1);
            item.failed_by_broker
        } else {
            item.failed_by_broker = 0;
            item.attempts()
        };
        if !failure.retryable || !failure.by_broker && failed >= retries.attempts {
            return self.bury(item);
        }
        self.with.meter.retried.increment(1);
        if self.closing {
            return self.back.push(item.lease);
        }
        self.wait(retries.delay(failed), Due::Attempt, item);
    }

    fn unreadable(&mut self, mut item: Item<C::Receipt>, error: String) {
        if self.is_query() {
            let failure = Failure {
                error: format!("it cannot be read: {error}"),
                retryable: false,
                by_broker: false,
            };
            self.reply(&item, failure.outcome());
            return self.settle(item);
        }
        item.fail(format!("it cannot be read: {error}"));
        self.bury(item);
    }

    // ----- out

    fn reply(&self, query: &Item<C::Receipt>, outcome: reply::Outcome) {
        let Ok(envelope) = Envelope::parse(&query.record.headers) else {
            return;
        };
        let reply = reply::write(&envelope, &self.with.settings.name, outcome);
        if let Some((topic, record)) = reply {
            // A reply that is lost is a timeout at the caller.
            let done = Box::new(|_| {});
            self.with.outbound.hand_over(topic, record, done);
        }
    }

    /// The item is done: it is acknowledged, and the next of its key may come.
    fn settle(&mut self, item: Item<C::Receipt>) {
        let Item { lease, record, .. } = item;
        if self.is_query() {
            self.here -= 1;
        } else {
            self.done.push(lease);
        }
        let Some(key) = &record.key else { return };
        let Some(behind) = self.behind.get_mut(key) else {
            return;
        };
        match behind.queue.pop_front() {
            Some(next) => self.next.push_back(next),
            None => _ = self.behind.remove(key),
        }
    }

    /// Makes a dead letter of an item. It is acknowledged when the broker has the dead letter, however
    /// long that takes.
    fn bury(&mut self, item: Item<C::Receipt>) {
        let Surroundings {
            served,
            settings,
            member,
            outbound,
            report,
            ..
        } = &self.with;
        let record = dead_letters::write(served, &settings.name, member, &item);
        let (outbound, report) = (outbound.clone(), report.clone());
        let burying = self.burying.spawn(async move {
            let mut backoff = retry::reconnect();
            loop {
                let appended = outbound.append(dead_letters::TOPIC, record.clone());
                let appended = appended.await;
                let is_done = appended.is_ok();
                report.of(Task::Bury, appended);
                if is_done {
                    return;
                }
                tokio::time::sleep(backoff.next()).await;
            }
        });
        self.in_burying.insert(burying.id(), item);
    }

    fn on_buried(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(mut item) = self.in_burying.remove(&id) else {
            return;
        };
        if ended.is_err() {
            return self.bury(item);
        }
        self.with.meter.dead_lettered.increment(1);
        // Its key is that of something handled only if it was: a replay, and another of the key, may run.
        if item.lease.claim.is_some() {
            self.given_up.push(item.lease.clone());
            item.lease.claim = None;
        }
        self.settle(item);
    }

    fn start_acknowledging(&mut self) {
        let waits = Instant::now() < self.acknowledge_again;
        if self.acknowledging.is_some() || self.done.is_empty() || waits {
            return;
        }
        let settling = Settling {
            done: std::mem::take(&mut self.done),
            given_up: std::mem::take(&mut self.given_up),
        };
        let consumer = self.with.consumer.clone();
        self.acknowledging = Some(Box::pin(async move {
            let result = consumer.acknowledge(&settling.done).await;
            if result.is_ok() && !settling.given_up.is_empty() {
                // If this fails, the claims end with their leases.
                _ = consumer.release(&settling.given_up).await;
            }
            (settling, result)
        }));
    }

    fn on_acknowledged(
        &mut self,
        mut settling: Settling<C::Receipt>,
        result: Result<(), TransportError>,
    ) {
        let failed = result.is_err();
        self.with.report.of(Task::Acknowledge, result);
        if failed {
            self.acknowledge_again = Instant::now() + self.backoff.next();
            settling.done.append(&mut self.done);
            settling.given_up.append(&mut self.given_up);
            (self.done, self.given_up) = (settling.done, settling.given_up);
            return;
        }
        self.here -= settling.done.len();
        self.let_go(&settling.done);
    }
}

/// Waits for a time; forever if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits for what is under way; forever if nothing is.
async fn ended<T>(ongoing: &mut Ongoing<T>) -> T {
    let Some(future) = ongoing else {
        return std::future::pending().await;
    };
    let result = future.await;
    *ongoing = None;
    result
}

/// Runs a handler as far as it comes without waiting. What comes of it after that has to be polled
/// again, by somebody who is woken.
fn try_at_once(work: &mut Work) -> Poll<Result<Bytes, Failure>> {
    let mut context = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context)));
    match polled {
        Ok(polled) => polled.map_err(Failure::from),
        Err(panic) => Poll::Ready(Err(Failure::of_panic(&*panic))),
    }
}
