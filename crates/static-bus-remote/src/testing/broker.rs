//! The broker whose faults come from a seed.

use std::{
    fmt::{self, Arguments},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    consumer::{SimConsumer, SimReceiver},
    faults::{Fault, FaultKind, Faults, InjectedFault},
    held::Held,
    process::{Process, supervise},
    schedule::{Decision, Schedule},
};
use crate::{
    MemoryBroker,
    lock::lock,
    memory::NotQuiet,
    time::later,
    transport::{
        DeadLetterRecord, Inspect, Kind, Record, Subscription, Topic, TopicState, Transport,
        TransportError, TransportErrorKind,
    },
};

/// A [`MemoryBroker`] that injects faults from a seed, for tests of what handlers do when they happen.
///
/// A run of one seed is always the same, if nothing else is random: it needs a current-thread runtime with paused
/// time, as [`sim::search`](super::sim::search) and `#[tokio::test(start_paused = true)]` have, and code under test that
/// does not depend on the system clock, other random numbers, the order of a `HashMap`, or a `tokio::select!` without
/// `biased`.
///
/// Kills, failures and cut-offs happen to [processes](SimBroker::process) only. All other calls succeed.
///
/// Clones share the broker.
#[derive(Clone)]
pub struct SimBroker {
    shared: Arc<Shared>,
    /// The process that has this clone; `None` outside of processes.
    process: Option<Arc<Process>>,
}

struct Shared {
    seed: u64,
    inner: MemoryBroker,
    begun: Instant,
    schedule: Mutex<Schedule>,
    held: Mutex<Held>,
    log: Mutex<Vec<String>>,
    /// The longest lease of a consumer.
    lease: Mutex<Duration>,
    /// The number of processes that are down.
    down: watch::Sender<usize>,
    /// The time at which all processes reach the broker again.
    cut_off_until: Mutex<Instant>,
}

/// The faults that may strike a call of a process.
const CALL: [FaultKind; 5] = [
    FaultKind::KillBefore,
    FaultKind::KillAfter,
    FaultKind::FailBefore,
    FaultKind::FailAfter,
    FaultKind::CutOff,
];
/// Those that may strike a process when it has received.
const RECEIVED: [FaultKind; 2] = [FaultKind::KillAfter, FaultKind::CutOff];

impl SimBroker {
    /// A broker with all [faults](Faults::default) from this seed. It seeds the random numbers of this thread
    /// ([`fastrand`](https://docs.rs/fastrand)), which delays between attempts are made of.
    pub fn seed(seed: u64) -> Self {
        SimBroker::new(seed, Schedule::of_seed(seed, Faults::default()))
    }

    /// The same broker with other faults from its seed. Call it first, before the broker is used.
    #[must_use = "this returns the broker"]
    pub fn with_faults(self, faults: Faults) -> Self {
        lock(&self.shared.schedule).set_faults(self.shared.seed, faults);
        self
    }

    /// Another broker of the same seed with these faults at these decisions.
    pub(super) fn with_list(seed: u64, faults: Vec<InjectedFault>) -> Self {
        SimBroker::new(seed, Schedule::of_list(faults))
    }

    fn new(seed: u64, schedule: Schedule) -> Self {
        fastrand::seed(seed);
        let begun = Instant::now();
        SimBroker {
            shared: Arc::new(Shared {
                seed,
                inner: MemoryBroker::new(),
                begun,
                schedule: Mutex::new(schedule),
                held: Mutex::default(),
                log: Mutex::default(),
                lease: Mutex::default(),
                down: watch::Sender::new(0),
                cut_off_until: Mutex::new(begun),
            }),
            process: None,
        }
    }

    /// The same broker for this process.
    pub(super) fn of(&self, process: Arc<Process>) -> Self {
        SimBroker {
            shared: self.shared.clone(),
            process: Some(process),
        }
    }

    /// Starts a process, which faults may strike. `start` gets the broker of the process, and returns what keeps it
    /// running, such as a [`WorkerHandle`](crate::WorkerHandle). When the process is killed, that is dropped, and
    /// `start` is called again after some time. What is to outlive a kill, such as a database, belongs outside of
    /// `start`.
    ///
    /// A start is not struck by a fault of its own, so groups exist when this returns.
    ///
    /// # Errors
    /// Those of the first start.
    pub async fn process<R, E, S>(
        &self,
        name: impl Into<Arc<str>>,
        start: impl Fn(SimBroker) -> S + Send + 'static,
    ) -> Result<(), E>
    where
        R: Send + 'static,
        E: fmt::Display + Send + 'static,
        S: Future<Output = Result<R, E>> + Send + 'static,
    {
        let (started, has_started) = oneshot::channel();
        self.set_up(false);
        tokio::spawn(supervise(self.clone(), name.into(), start, started));
        match has_started.await {
            Ok(result) => result,
            // A panic of `start`, which its task has reported; or the end of the runtime.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until no message is in flight, as [`MemoryBroker::until_quiet`] does, and all processes run.
    ///
    /// The deadline should allow for leases that run out: minutes.
    ///
    /// # Errors
    /// The messages that are still in flight after `deadline`.
    pub async fn until_quiet(&self, deadline: Duration) -> Result<(), NotQuiet> {
        let end = later(Instant::now(), deadline);
        loop {
            let held = |add: &mut dyn FnMut(&Topic, Instant)| {
                for (due, topic) in lock(&self.shared.held).iter() {
                    add(topic, due);
                }
            };
            let quiet = self
                .shared
                .inner
                .until_quiet_with(deadline, end, held)
                .await;
            quiet?;
            let cut_off_until = *lock(&self.shared.cut_off_until);
            if *self.shared.down.borrow() == 0 && cut_off_until <= Instant::now() {
                return Ok(());
            }
            sleep_until(cut_off_until).await;
            let mut down = self.shared.down.subscribe();
            _ = down.wait_for(|processes| *processes == 0).await;
        }
    }

    /// Injects no more faults, so that a test can look at the outcome by queries.
    pub fn stop_faults(&self) {
        lock(&self.shared.schedule).stop();
    }

    /// The faults that were injected so far.
    pub fn faults(&self) -> Vec<InjectedFault> {
        lock(&self.shared.schedule).injected().to_vec()
    }

    /// The calls so far, with their simulated times, processes and effects. Equal runs have equal logs.
    pub fn log(&self) -> Vec<String> {
        lock(&self.shared.log).clone()
    }

    // ----- what processes and consumers need

    pub(super) fn note(&self, event: Arguments<'_>) {
        let at = self.shared.begun.elapsed();
        let mut log = lock(&self.shared.log);
        log.push(match &self.process {
            Some(process) => format!("{at:?} {process} {event}"),
            None => format!("{at:?} {TEST} {event}"),
        });
    }

    /// Counts a process that is down, or runs again.
    pub(super) fn set_up(&self, is_up: bool) {
        self.shared.down.send_modify(|down| match is_up {
            true => *down -= 1,
            false => *down += 1,
        });
    }

    pub(super) fn is_killed(&self) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| process.is_killed())
    }

    /// Waits forever if this process is killed.
    pub(super) async fn alive(&self) {
        if self.is_killed() {
            std::future::pending().await
        }
    }

    /// Checks that this process reaches the broker. Waits forever if it is killed.
    pub(super) async fn reach(&self) -> Result<(), TransportError> {
        self.alive().await;
        let process = self.process.as_ref();
        match process.is_some_and(|process| process.is_cut_off()) {
            true => Err(unreachable("is cut off")),
            false => Ok(()),
        }
    }

    /// Makes a call of a process, with its fault. `what` is a verb with its object.
    pub(super) async fn call<R>(
        &self,
        what: &str,
        call: impl Future<Output = Result<R, TransportError>>,
    ) -> Result<R, TransportError> {
        self.reach().await?;
        let fault = self.decide(what, &CALL);
        match fault {
            Some(Fault::FailBefore) => return Err(unreachable(what)),
            Some(Fault::KillBefore(down)) => self.kill(down).await,
            Some(Fault::CutOff(time)) => return Err(self.cut_off(time)),
            _ => {}
        }
        let result = call.await;
        match fault {
            Some(Fault::FailAfter) => Err(unreachable(what)),
            Some(Fault::KillAfter(down)) => self.kill(down).await,
            _ => result,
        }
    }

    /// The fault after a process has received records. They have reached it, if it is not killed.
    pub(super) async fn received(&self, count: usize, what: &str) {
        self.note(format_args!("{what}: {count}"));
        match self.decide(what, &RECEIVED) {
            Some(Fault::KillAfter(down)) => self.kill(down).await,
            Some(Fault::CutOff(time)) => _ = self.cut_off(time),
            _ => {}
        }
    }

    async fn kill<R>(&self, down: Duration) -> R {
        if let Some(process) = &self.process {
            process.kill(down);
        }
        std::future::pending().await
    }

    fn cut_off(&self, time: Duration) -> TransportError {
        if let Some(process) = &self.process {
            let until = process.cut_off(time);
            let mut last = lock(&self.shared.cut_off_until);
            *last = until.max(*last);
        }
        unreachable("is cut off")
    }

    fn note_lease(&self, lease: Duration) {
        let mut longest = lock(&self.shared.lease);
        *longest = lease.max(*longest);
    }

    /// The fault at a call of this process, or at a record.
    fn decide(&self, what: &str, kinds: &[FaultKind]) -> Option<Fault> {
        let strikes_records = kinds.iter().any(|kind| !CALL.contains(kind));
        if self.process.is_none() && !strikes_records {
            return None;
        }
        let who = self.process.as_ref();
        let call = format!("{} {what}", who.map_or(TEST, |process| process.name()));
        let lease = *lock(&self.shared.lease);
        let fault = lock(&self.shared.schedule).decide(Decision {
            at: self.shared.begun.elapsed(),
            lease,
            kinds,
            call,
        })?;
        self.note(format_args!("FAULT {fault:?}: {what}"));
        Some(fault)
    }

    // ----- appending

    fn append_one(&self, topic: Topic, record: Record) -> Result<(), TransportError> {
        let what = format!("appends {topic}");
        // A scheduled record is in the broker when its sender has an `Ok`: it can be cancelled then.
        let is_scheduled = record.due.is_some();
        let fault = match topic.kind {
            Kind::Command | Kind::Event if is_scheduled => {
                self.decide(&what, &[FaultKind::Duplicate])
            }
            Kind::Command | Kind::Event => {
                self.decide(&what, &[FaultKind::Duplicate, FaultKind::Delay])
            }
            _ => None,
        };
        let mut held = lock(&self.shared.held);
        let after = match is_scheduled {
            true => None,
            false => held.last_of(&topic, record.key.as_ref()),
        };
        let due = match fault {
            Some(Fault::Delay(time)) => after.max(Some(Instant::now() + time)),
            _ => after,
        };
        let copy = (fault == Some(Fault::Duplicate)).then(|| record.clone());
        let both = std::iter::once(record).chain(copy);
        let Some(due) = due else {
            let both = both.map(|record| (topic.clone(), record)).collect();
            return self.shared.inner.append_now(both).swap_remove(0);
        };
        for record in both {
            held.add(due, topic.clone(), record);
        }
        drop(held);
        let sim = self.clone();
        tokio::spawn(async move {
            sleep_until(due).await;
            sim.release();
        });
        Ok(())
    }

    /// Appends the held messages that are due.
    fn release(&self) {
        let mut held = lock(&self.shared.held);
        while let Some((topic, record)) = held.pop_due(Instant::now()) {
            self.note(format_args!("had appended {topic}, which arrives"));
            _ = self.shared.inner.append_now(vec![(topic, record)]);
        }
    }

    async fn append_all(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let appended = records.into_iter().map(|(topic, record)| {
            let key = record.key.clone().unwrap_or_default();
            // The name of a topic of replies is another in each run.
            let name = match topic.kind {
                Kind::Reply => "",
                _ => &topic.name,
            };
            let kind = topic.kind.as_str();
            self.note(format_args!("appends {kind} {name} with key {key:?}"));
            self.append_one(topic, record)
        });
        appended.collect()
    }
}

impl Transport for SimBroker {
    type Consumer = SimConsumer;
    type Receiver = SimReceiver;

    fn address(&self) -> &str {
        ADDRESS
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.alive().await;
        self.shared.inner.check().await
    }

    async fn append(&self, mut records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let count = records.len();
        let Some((topic, _)) = records.first() else {
            return Vec::new();
        };
        let what = format!("appends {}", described(topic));
        self.alive().await;
        let has_query = records.iter().any(|(topic, _)| topic.kind == Kind::Query);
        if has_query && let Some(Fault::Delay(time)) = self.decide(&what, &[FaultKind::Delay]) {
            sleep(time).await;
            for (_, record) in &mut records {
                record.expires = record.expires.map(|left| left.saturating_sub(time));
            }
        }
        let appending = async { Ok(self.append_all(records).await) };
        match self.call(&what, appending).await {
            Ok(results) => results,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn consume(&self, subscription: Subscription) -> Result<SimConsumer, TransportError> {
        self.alive().await;
        self.note_lease(subscription.lease);
        let what = format!("{} for {}", subscription.topic, subscription.group);
        let inner = self.shared.inner.consume(subscription).await?;
        Ok(SimConsumer::new(self.clone(), inner, what))
    }

    async fn listen(&self, topic: Topic) -> Result<SimReceiver, TransportError> {
        self.alive().await;
        let what = described(&topic);
        let inner = self.shared.inner.listen(topic).await?;
        Ok(SimReceiver::new(self.clone(), inner, what))
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        self.reach().await?;
        self.shared.inner.dead_letters(after, limit).await
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        self.reach().await?;
        self.shared.inner.remove_dead_letters(positions).await
    }

    fn check_scheduling(&self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn cancel(&self, topic: &Topic, key: &str) -> Result<bool, TransportError> {
        let what = format!("cancels {key:?} of {}", described(topic));
        let cancelling = async {
            self.note(format_args!("{what}"));
            self.shared.inner.cancel(topic, key).await
        };
        self.call(&what, cancelling).await
    }
}

impl Inspect for SimBroker {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        self.reach().await?;
        self.shared.inner.topics().await
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        self.reach().await?;
        self.shared.inner.inspect(topics).await
    }
}

impl fmt::Debug for SimBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = self.process.as_ref().map(|process| process.name());
        f.debug_struct("SimBroker")
            .field("seed", &self.shared.seed)
            .field("process", &process)
            .finish_non_exhaustive()
    }
}

const ADDRESS: &str = "simulated";
/// The sender of calls outside of processes.
const TEST: &str = "the test";

/// A topic in words. The name of a topic of replies is another in each run.
fn described(topic: &Topic) -> String {
    match topic.kind {
        Kind::Reply => "replies".to_owned(),
        _ => topic.to_string(),
    }
}

fn unreachable(what: &str) -> TransportError {
    let reason = format!("an injected fault: the process {what}; the broker does not answer");
    TransportError::new(TransportErrorKind::Unreachable, ADDRESS, reason)
}
