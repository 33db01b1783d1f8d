//! A broker that records its calls and fails on demand, and helpers for the tests.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use static_bus_remote::{
    DeadLetter, DeadLetters, Envelope, MemoryBroker, RemoteBus, RetryPolicy, Transport,
    TransportError, TransportErrorKind,
    memory::{MemoryConsumer, MemoryReceiver, Receipt},
    transport::{
        Backlog, Claim, Consumer, DeadLetterRecord, Delivery, Inspect, Kind, Lease, Receiver,
        Record, Scope, Subscription, Topic, TopicState,
    },
};
use tokio::sync::mpsc;

/// The kind of a call of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Check,
    Append(Kind),
    Consume,
    Receive(Kind),
    Claim,
    Acknowledge,
    Renew,
    Release,
    Close,
    Backlog,
    /// It never fails. Its items are the dead letters that are read.
    DeadLetters,
}

/// The effect of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    None,
    /// It fails without an effect.
    Before,
    /// It fails with an error of this kind, without an effect.
    Kind(TransportErrorKind),
    /// It takes effect, and returns an error.
    After,
    /// It takes effect later.
    Late(Duration),
    /// It fails later, without an effect.
    NoAnswer(Duration),
    /// It never ends.
    Hang,
    /// It fails later with an error of this kind, without an effect.
    LateKind(Duration, TransportErrorKind),
}

type Rule = Box<dyn FnMut(Op) -> Fault + Send>;

#[derive(Default)]
struct State {
    rule: Mutex<Option<Rule>>,
    calls: Mutex<Vec<(Op, usize)>>,
    records: Mutex<Vec<(Topic, Record)>>,
    /// The number of attempts that were begun.
    attempts: AtomicUsize,
}

/// A [`MemoryBroker`] behind a connection that records calls and can fail.
#[derive(Clone, Default)]
pub struct TestBroker {
    pub inner: MemoryBroker,
    state: Arc<State>,
}

impl TestBroker {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn around(inner: MemoryBroker) -> Self {
        TestBroker {
            inner,
            ..Self::default()
        }
    }

    /// From now on this function decides the effect of each call.
    pub fn rule(&self, rule: impl FnMut(Op) -> Fault + Send + 'static) {
        *self.state.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// From now on calls of this kind fail without an effect.
    pub fn break_(&self, broken: impl Fn(Op) -> bool + Send + 'static) {
        self.rule(move |op| {
            if broken(op) {
                Fault::Before
            } else {
                Fault::None
            }
        });
    }

    /// The next calls of this kind, up to this number, fail with an error of that kind, without an effect.
    pub fn fail(&self, failing: Op, kind: TransportErrorKind, mut times: usize) {
        self.rule(move |op| {
            if op != failing || times == 0 {
                return Fault::None;
            }
            times -= 1;
            Fault::Kind(kind)
        });
    }

    pub fn mend(&self) {
        *self.state.rule.lock().unwrap() = None;
    }

    /// The number of calls of this kind.
    pub fn calls(&self, op: Op) -> usize {
        let calls = self.state.calls.lock().unwrap();
        calls.iter().filter(|(o, _)| *o == op).count()
    }

    /// The number of records in calls of this kind.
    pub fn items(&self, op: Op) -> usize {
        let calls = self.state.calls.lock().unwrap();
        calls.iter().filter(|(o, _)| *o == op).map(|(_, n)| n).sum()
    }

    /// The appended records of this kind.
    pub fn appended(&self, kind: Kind) -> Vec<Record> {
        let records = self.state.records.lock().unwrap();
        let of_kind = records.iter().filter(|(topic, _)| topic.kind == kind);
        of_kind.map(|(_, record)| record.clone()).collect()
    }

    /// The only appended record of this kind.
    pub fn only(&self, kind: Kind) -> Record {
        let mut records = self.appended(kind);
        assert_eq!(records.len(), 1, "{kind:?}: {records:?}");
        records.remove(0)
    }

    fn fault(&self, op: Op, items: usize) -> Fault {
        self.state.calls.lock().unwrap().push((op, items));
        let mut rule = self.state.rule.lock().unwrap();
        rule.as_mut().map_or(Fault::None, |rule| rule(op))
    }

    async fn through<R>(
        &self,
        op: Op,
        items: usize,
        call: impl Future<Output = Result<R, TransportError>>,
    ) -> Result<R, TransportError> {
        match self.fault(op, items) {
            Fault::None => call.await,
            Fault::Before => Err(broken()),
            Fault::Kind(kind) => Err(failed(kind)),
            Fault::After => {
                _ = call.await;
                Err(broken())
            }
            Fault::Late(time) => {
                tokio::time::sleep(time).await;
                call.await
            }
            Fault::NoAnswer(time) => {
                tokio::time::sleep(time).await;
                Err(broken())
            }
            Fault::LateKind(time, kind) => {
                tokio::time::sleep(time).await;
                Err(failed(kind))
            }
            Fault::Hang => std::future::pending().await,
        }
    }
}

pub fn broken() -> TransportError {
    failed(TransportErrorKind::Unreachable)
}

fn failed(kind: TransportErrorKind) -> TransportError {
    let reason = match kind {
        TransportErrorKind::Unreachable => "the connection is broken",
        TransportErrorKind::TooLarge => "the record is too large",
        _ => "it is refused",
    };
    TransportError::new(kind, "test://broker", reason)
}

impl Transport for TestBroker {
    type Consumer = TestConsumer;
    type Receiver = TestReceiver;

    fn address(&self) -> &str {
        "test://broker"
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.through(Op::Check, 0, self.inner.check()).await
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let mut faults = Vec::new();
        let mut kept = Vec::new();
        // One call for each run of a kind, so calls can be counted.
        let mut last = None;
        for (topic, record) in records {
            let op = Op::Append(topic.kind);
            let fault = if last == Some(op) {
                let mut rule = self.state.rule.lock().unwrap();
                self.state.calls.lock().unwrap().last_mut().unwrap().1 += 1;
                rule.as_mut().map_or(Fault::None, |rule| rule(op))
            } else {
                self.fault(op, 1)
            };
            last = Some(op);
            if let Fault::None | Fault::Late(_) | Fault::After = fault {
                kept.push((topic, record));
            }
            faults.push(fault);
        }
        if faults.contains(&Fault::Hang) {
            std::future::pending::<()>().await;
        }
        let no_answer = faults.iter().filter_map(|fault| match fault {
            Fault::NoAnswer(time) | Fault::LateKind(time, _) => Some(*time),
            _ => None,
        });
        tokio::time::sleep(no_answer.max().unwrap_or_default()).await;
        for fault in &faults {
            if let Fault::Late(time) = fault {
                tokio::time::sleep(*time).await;
            }
        }
        let appended = self.inner.append(kept.clone()).await;
        let accepted = kept.into_iter().zip(&appended);
        let accepted = accepted.filter_map(|(one, result)| result.is_ok().then_some(one));
        self.state.records.lock().unwrap().extend(accepted);
        let mut appended = appended.into_iter();
        let results = faults.into_iter().map(|fault| match fault {
            Fault::None | Fault::Late(_) => appended.next().unwrap(),
            Fault::After => {
                appended.next();
                Err(broken())
            }
            Fault::Before | Fault::NoAnswer(_) | Fault::Hang => Err(broken()),
            Fault::Kind(kind) | Fault::LateKind(_, kind) => Err(failed(kind)),
        });
        results.collect()
    }

    async fn consume(&self, subscription: Subscription) -> Result<TestConsumer, TransportError> {
        let kind = subscription.topic.kind;
        let inner = self.inner.consume(subscription);
        Ok(TestConsumer {
            inner: self.through(Op::Consume, 0, inner).await?,
            kind,
            broker: self.clone(),
        })
    }

    async fn listen(&self, topic: Topic) -> Result<TestReceiver, TransportError> {
        let kind = topic.kind;
        let inner = self.inner.listen(topic);
        Ok(TestReceiver {
            inner: self.through(Op::Consume, 0, inner).await?,
            kind,
            broker: self.clone(),
        })
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        let page = self.inner.dead_letters(after, limit).await?;
        self.fault(Op::DeadLetters, page.len());
        Ok(page)
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        self.inner.remove_dead_letters(positions).await
    }
}

impl Inspect for TestBroker {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        self.inner.topics().await
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        self.inner.inspect(topics).await
    }
}

pub struct TestConsumer {
    inner: MemoryConsumer,
    kind: Kind,
    broker: TestBroker,
}

impl Consumer for TestConsumer {
    type Receipt = Receipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<Receipt>>, TransportError> {
        let call = self.inner.receive(max, wait);
        self.broker.through(Op::Receive(self.kind), 0, call).await
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        let call = self.inner.claim(keys);
        self.broker.through(Op::Claim, keys.len(), call).await
    }

    async fn acknowledge(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        let call = self.inner.acknowledge(leases);
        self.broker
            .through(Op::Acknowledge, leases.len(), call)
            .await
    }

    /// The number of the attempt.
    fn begin(&self, _: &Receipt) -> Option<Scope> {
        let before = self.broker.state.attempts.fetch_add(1, Ordering::Relaxed);
        Some(Scope::new(before + 1))
    }

    async fn renew(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        let call = self.inner.renew(leases);
        self.broker.through(Op::Renew, leases.len(), call).await
    }

    async fn release(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        let call = self.inner.release(leases);
        self.broker.through(Op::Release, leases.len(), call).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.broker.through(Op::Close, 0, self.inner.close()).await
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        self.broker
            .through(Op::Backlog, 0, self.inner.backlog())
            .await
    }
}

pub struct TestReceiver {
    inner: MemoryReceiver,
    kind: Kind,
    broker: TestBroker,
}

impl Receiver for TestReceiver {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        let call = self.inner.receive(max, wait);
        self.broker.through(Op::Receive(self.kind), 0, call).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.broker.through(Op::Close, 0, self.inner.close()).await
    }
}

// ----- helpers

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
/// Much longer than any test takes.
pub const LONG: Duration = Duration::from_secs(60);

/// Waits for a future, with a time limit.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let result = tokio::time::timeout(LONG, future).await;
    result.unwrap_or_else(|_| panic!("{what}: not within {LONG:?}"))
}

/// Waits until a condition is true.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    soon(what, async {
        while !is_so().await {
            tokio::time::sleep(MS).await;
        }
    })
    .await;
}

/// The reports of handlers.
pub struct Heard<T>(mpsc::UnboundedReceiver<T>);
pub type Tell<T> = mpsc::UnboundedSender<T>;

pub fn listen<T>() -> (Tell<T>, Heard<T>) {
    let (tell, heard) = mpsc::unbounded_channel();
    (tell, Heard(heard))
}

impl<T> Heard<T> {
    pub async fn next(&mut self) -> T {
        let next = soon("a handler is to be heard of", self.0.recv()).await;
        next.expect("all handlers are gone")
    }

    pub async fn take(&mut self, count: usize) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.push(self.next().await);
        }
        taken
    }

    /// No report has arrived meanwhile.
    pub fn is_silent(&mut self)
    where
        T: std::fmt::Debug,
    {
        let rest = self.rest();
        assert!(rest.is_empty(), "{rest:?}");
    }

    /// The reports so far.
    pub fn rest(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// Counts concurrent handlers, and their maximum.
#[derive(Clone, Default)]
pub struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);
pub struct Inside(Gauge);
impl Gauge {
    pub fn enter(&self) -> Inside {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        Inside(self.clone())
    }
    pub fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }
    pub fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}
impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Retries with short delays.
pub fn quick(attempts: u32) -> RetryPolicy {
    RetryPolicy {
        max_attempts: attempts,
        initial_delay: MS,
        max_delay: 10 * MS,
    }
}

pub async fn connect<T: Transport>(broker: &T) -> RemoteBus<T> {
    RemoteBus::builder(broker.clone())
        .service("shop")
        .connect()
        .await
        .unwrap()
}

pub async fn letters<T: Transport>(broker: &T) -> Vec<DeadLetter> {
    DeadLetters::of(broker.clone())
        .list(None, 10_000)
        .await
        .unwrap()
}

/// Waits for this number of dead letters.
pub async fn dead_lettered<T: Transport>(broker: &T, count: usize) -> Vec<DeadLetter> {
    until("the dead letters are there", async || {
        letters(broker).await.len() >= count
    })
    .await;
    letters(broker).await
}

/// An open receiver of queries, which receives none.
pub async fn silent<T: Transport>(broker: &T, name: &'static str) -> T::Receiver {
    let topic = Topic {
        kind: Kind::Query,
        name: name.into(),
    };
    broker.listen(topic).await.unwrap()
}

/// Receives the first command three times, each time with a member that ends without settling it: it may have ended
/// its workers.
pub async fn end_three_members(broker: &MemoryBroker, name: &'static str) {
    let topic = Topic {
        kind: Kind::Command,
        name: name.into(),
    };
    for ended in 0..3 {
        let member = Subscription::new(topic.clone(), "handlers", format!("ended {ended}"));
        let consumer = broker.consume(member.with_lease(SECOND)).await.unwrap();
        assert_eq!(consumer.receive(1, LONG).await.unwrap().len(), 1);
        drop(consumer);
        tokio::time::sleep(SECOND).await;
    }
}

/// Waits until a group has settled all records.
pub async fn settled<T: Transport>(
    broker: &T,
    kind: Kind,
    name: &'static str,
    group: &'static str,
) {
    let topic = Topic {
        kind,
        name: name.into(),
    };
    let watcher = Subscription::new(topic, group, "watcher");
    let watcher = broker.consume(watcher).await.unwrap();
    until("everything is settled", async || {
        watcher.backlog().await.unwrap() == Backlog::default()
    })
    .await;
    watcher.close().await.unwrap();
}

/// A record as from a client, with changeable parts.
pub fn record(
    message_type: &str,
    body: &'static str,
    change: impl FnOnce(&mut Envelope<'_>),
) -> Record {
    let mut envelope = Envelope::new("test", message_type.to_owned(), "application/json");
    change(&mut envelope);
    Record {
        headers: envelope.headers(),
        body: body.into(),
        ..Record::default()
    }
}

pub async fn append<T: Transport>(broker: &T, kind: Kind, name: &'static str, record: Record) {
    let topic = Topic {
        kind,
        name: name.into(),
    };
    for result in broker.append(vec![(topic, record)]).await {
        result.unwrap();
    }
}
