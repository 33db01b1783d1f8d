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
mod handling;
mod settling;
mod taking;

use std::{
    collections::{BinaryHeap, HashMap, VecDeque, hash_map::Entry},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{Id, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    Settings,
    health::{Report, Task},
    intake::{Asking, Batch, Taken},
    item::{Due, Item, Later},
    leases::Leases,
    meter::Meter,
    serve::Served,
};
use crate::{
    TransportError,
    outbound::Outbound,
    retry,
    transport::{Claim, Consumer, Kind, Lease},
};
use static_bus::asynchronous::BusError;

use failure::Failure;

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
    /// How many of them are handled, and not acknowledged yet.
    handled: usize,
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

    taking: Ongoing<Result<Batch<C::Receipt>, TransportError>>,
    claiming: Ongoing<(Vec<Item<C::Receipt>>, Vec<Option<Claim>>)>,
    acknowledging: Ongoing<(Settling<C::Receipt>, Result<(), TransportError>)>,
    asking_for_slot: Ongoing<Slot>,

    own_slot: Option<Slot>,
    spare_slot: Option<Slot>,
    /// Whether the last handler finished at once.
    quick: bool,
    /// How many of the next handlers get a task of their own without a try.
    long: usize,
    /// Whether what came last may have ended workers: then one message is taken at a time.
    careful: bool,
    /// Whether the broker did not take what a handler sent, and no handler has succeeded since.
    sending_fails: bool,
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
                suspect: with
                    .settings
                    .retries
                    .max_attempts
                    .saturating_sub(1)
                    .clamp(1, 2),
            }),
            leases: (!is_query).then(|| {
                let consumer = with.consumer.clone();
                Leases::new(consumer, with.settings.lease, with.report.clone())
            }),
            with,
            ended: Ended::default(),
            here: 0,
            handled: 0,
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
            careful: false,
            sending_fails: false,
            closing: false,
            backoff: retry::reconnect(),
            take_again: now,
            acknowledge_again: now,
        }
    }

    pub(super) async fn run(mut self) -> Ended {
        while self.with.draining.borrow().is_none() {
            self.start_taking();
            self.start_ready();
            self.start_claiming();
            self.step(None).await;
        }
        self.close().await
    }

    fn is_query(&self) -> bool {
        self.with.served.topic.kind == Kind::Query
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
