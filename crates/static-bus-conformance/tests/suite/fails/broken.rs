//! A broker engine with one fault.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    mem::take,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::OnceCell, time::Instant};

use static_bus_conformance::{Capabilities, Harness};
use static_bus_remote::{
    Headers, MemoryBroker, Transport,
    lock::lock,
    memory::{MemoryConsumer, MemoryReceiver, Receipt},
    transport::{
        Backlog, Claim, Consumer, DeadLetterRecord, Delivery, Due, DueTime, Inspect, Kind, Lease,
        Receiver, Record, Subscription, Topic, TopicState, TransportError, TransportErrorKind,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    DecodesBodiesAsText,
    ReturnsOneResult,
    LosesOneInAHundred,
    DeliversTwice,
    IgnoresKinds,
    TruncatesNames,
    HasOneGroup,
    ReplaysEvents,
    DropsCommandsWithoutGroup,
    ForgetsGroupsWithoutMembers,
    IgnoresKeys,
    HasOneKey,
    ReleasesToTheEnd,
    KeepsLeasesForever,
    ReleasesNothing,
    ReleasesRecordsOfOthers,
    DropsReleasedRecords,
    RenewsNothing,
    RenewsRecordsAlone,
    AcknowledgesNothing,
    DropsRecordsOfClosingMembers,
    ConfirmsBufferedRecords,
    PollsRarely,
    DoesNotWait,
    WaitsForeverForZero,
    ReturnsMoreThanAsked,
    LosesRecordsOfDroppedReceives,
    GrantsEverything,
    ClaimsForAllGroups,
    ReleasesClaimsOfOthers,
    ConfirmsNoKeys,
    ConfirmsKeysLast,
    RemembersForever,
    DeliversQueriesAgain,
    ConsumesEveryKind,
    ListensToEveryKind,
    HasOneReplyChannel,
    AcceptsQueriesWithoutReceiver,
    KnowsReceiversThatReceive,
    HasNoGrace,
    RefusesWholeAppends,
    TakesSizesForOutages,
    HasNoHeadroom,
    DropsLargeRecords,
    KeepsExpiredRecords,
    ListsDeadLettersBackwards,
    RemovesDeadLettersUpTo,
    CountsNothing,
    ForgetsEverythingOnRestart,
    ListsReplies,
    HidesHolders,
    InspectsAsMember,
    CreatesTopicToList,
    IgnoresDueTimes,
    RoundsDueTimes,
    WaitsForTimesInThePast,
    DropsHeadersOfScheduledRecords,
    IgnoresCancellationKeys,
}

const MAX_RECORD: usize = 2 << 20;
/// The size in bytes of a body that has no room for the additions of a dead letter.
const LARGE: usize = MAX_RECORD - 3000;
/// The time for which a topic of queries without a receiver accepts them.
const GRACE: Duration = Duration::from_secs(2);
/// The harness of an engine with a fault, with the capabilities of a broker.
pub struct Broken {
    fault: Fault,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    broker: Mutex<MemoryBroker>,
    /// All claimed keys, with the ends of their leases; `None` for confirmed ones.
    keys: Mutex<HashMap<Arc<str>, Option<Instant>>>,
    holders: Mutex<HashMap<String, (Arc<MemoryConsumer>, Receipt)>>,
    /// The number of members of each group, and the number of times that the last one left.
    members: Mutex<HashMap<(Topic, String), (usize, usize)>>,
}

#[derive(Clone)]
pub struct BrokenBroker {
    fault: Fault,
    shared: Arc<Shared>,
    buffer: Arc<Mutex<Vec<(Topic, Record)>>>,
}

pub struct BrokenConsumer {
    fault: Fault,
    shared: Arc<Shared>,
    broker: MemoryBroker,
    consumer: Arc<MemoryConsumer>,
    group: (Topic, String),
    lease: Duration,
    held: Mutex<HashMap<Receipt, Record>>,
    again: Mutex<Option<Delivery<Receipt>>>,
}

use Fault::*;

impl Broken {
    pub fn new(fault: Fault) -> Self {
        let grace = match fault {
            HasNoGrace => Duration::ZERO,
            _ => GRACE,
        };
        let broker = MemoryBroker::builder()
            .receiver_grace(grace)
            .max_record(MAX_RECORD)
            .build();
        let shared = Arc::new(Shared {
            broker: Mutex::new(broker),
            ..Shared::default()
        });
        Broken { fault, shared }
    }
}

impl Harness for Broken {
    type Transport = BrokenBroker;

    async fn connect(&self) -> BrokenBroker {
        BrokenBroker {
            fault: self.fault,
            shared: self.shared.clone(),
            buffer: Arc::default(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::BROKER
            .with_receiver_grace(GRACE)
            .with_max_record(MAX_RECORD)
    }

    fn restarts(&self) -> bool {
        true
    }

    async fn restart(&self) {
        if self.fault == ForgetsEverythingOnRestart {
            *lock(&self.shared.broker) = MemoryBroker::new();
        }
    }

    fn may_skip(&self) -> bool {
        false
    }
}

impl BrokenBroker {
    fn broker(&self) -> MemoryBroker {
        lock(&self.shared.broker).clone()
    }

    fn spoil(&self, (topic, record): (Topic, Record)) -> (Topic, Record) {
        (spoil_topic(self.fault, topic), self.spoil_record(record))
    }

    fn spoil_record(&self, mut record: Record) -> Record {
        match self.fault {
            DecodesBodiesAsText => {
                record.body = String::from_utf8_lossy(&record.body).into_owned().into();
            }
            IgnoresKeys | HasOneKey => {
                if let Some(key) = record.key.take() {
                    record.headers.push("hidden", &key);
                }
                record.key = (self.fault == HasOneKey).then(|| "all".into());
            }
            KeepsExpiredRecords => record.expires = None,
            _ => {}
        }
        if let Some(due) = record.due.take() {
            self.spoil_scheduled(&mut record, due);
        }
        record
    }

    fn spoil_scheduled(&self, record: &mut Record, mut due: Due) {
        let now = SystemTime::now();
        let time = match due.time {
            DueTime::At(time) => time,
            DueTime::After(delay) => now + delay,
        };
        match self.fault {
            IgnoresDueTimes => return,
            RoundsDueTimes => {
                let seconds = time
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs();
                let rounded = UNIX_EPOCH + Duration::from_secs((seconds / 4 + 2) * 4);
                due.time = DueTime::At(rounded);
            }
            WaitsForTimesInThePast if time < now => {
                due.time = DueTime::After(Duration::from_secs(3600));
            }
            DropsHeadersOfScheduledRecords => record.headers = Headers::default(),
            IgnoresCancellationKeys => due.key = None,
            _ => {}
        }
        record.due = Some(due);
    }
}

impl Transport for BrokenBroker {
    type Consumer = BrokenConsumer;
    type Receiver = BrokenReceiver;

    fn address(&self) -> &str {
        "broken"
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.broker().check().await
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let mut results = vec![Ok(()); records.len()];
        let mut records: Vec<_> = records.into_iter().map(|r| self.spoil(r)).collect();
        match self.fault {
            ConfirmsBufferedRecords => {
                records = std::mem::replace(&mut lock(&self.buffer), records)
            }
            LosesOneInAHundred => records.retain(|(_, record)| {
                let id = record.headers.get("id");
                !id.is_some_and(|id| id.ends_with("42"))
            }),
            _ => {}
        }
        let is_dead = records
            .iter()
            .any(|(topic, _)| topic.kind == Kind::DeadLetter);
        let sizes: Vec<_> = records.iter().map(|(_, r)| r.body.len()).collect();
        let has_large = sizes.iter().any(|size| *size > LARGE);
        if self.fault == HasNoHeadroom && is_dead && has_large {
            let error = TransportError::new(
                TransportErrorKind::TooLarge,
                "broken",
                "dead letters have no headroom",
            );
            return vec![Err(error); sizes.len()];
        }
        let appended = self.broker().append(records).await;
        let too_large = |result: &Result<_, TransportError>| {
            result
                .as_ref()
                .is_err_and(|e| e.kind() == TransportErrorKind::TooLarge)
        };
        match self.fault {
            ConfirmsBufferedRecords | LosesOneInAHundred | AcceptsQueriesWithoutReceiver => {}
            ReturnsOneResult => results.truncate(1),
            RefusesWholeAppends if appended.iter().any(too_large) => {
                let refused = appended.iter().find(|result| too_large(result));
                results.fill(refused.cloned().unwrap_or(Ok(())));
            }
            TakesSizesForOutages => {
                let outage = |size| {
                    let kind = TransportErrorKind::Unreachable;
                    let reason = format!("{size} bytes cannot be sent");
                    TransportError::new(kind, "broken", reason)
                };
                let results_of = appended.into_iter().zip(sizes).map(|(result, size)| {
                    // Dead letters have no headroom.
                    match size > LARGE {
                        true if result.is_err() || is_dead => Err(outage(size)),
                        _ => result,
                    }
                });
                results = results_of.collect();
            }
            DropsLargeRecords => {
                let confirmed =
                    |result: Result<_, _>| if too_large(&result) { Ok(()) } else { result };
                results = appended.into_iter().map(confirmed).collect();
            }
            _ => results = appended,
        }
        results
    }

    async fn consume(
        &self,
        mut subscription: Subscription,
    ) -> Result<BrokenConsumer, TransportError> {
        let group = (subscription.topic.clone(), subscription.group.to_string());
        let gone = {
            let mut members = lock(&self.shared.members);
            let (members, gone) = members.entry(group.clone()).or_default();
            *members += 1;
            *gone
        };
        match self.fault {
            HasOneGroup => subscription.group = "handlers".into(),
            TruncatesNames => subscription.group = "handlers".into(),
            ForgetsGroupsWithoutMembers => {
                subscription.group = format!("{} {gone}", group.1).into()
            }
            KeepsLeasesForever => subscription.lease = Duration::from_secs(3600),
            RemembersForever => subscription.deduplication = Some(Duration::from_secs(3600)),
            _ => {}
        }
        if self.fault == ConsumesEveryKind {
            subscription.topic.kind = Kind::Command;
        }
        subscription.topic = spoil_topic(self.fault, subscription.topic);
        let lease = subscription.lease;
        Ok(BrokenConsumer {
            fault: self.fault,
            shared: self.shared.clone(),
            consumer: Arc::new(self.broker().consume(subscription).await?),
            broker: self.broker(),
            group,
            lease,
            held: Mutex::default(),
            again: Mutex::default(),
        })
    }

    async fn listen(&self, mut topic: Topic) -> Result<BrokenReceiver, TransportError> {
        if self.fault == ListensToEveryKind {
            topic.kind = Kind::Query;
        }
        let topic = spoil_topic(self.fault, topic);
        let receiver = BrokenReceiver {
            fault: self.fault,
            receiver: OnceCell::new(),
            broker: self.broker(),
            topic,
        };
        if self.fault != KnowsReceiversThatReceive {
            receiver.open().await?;
        }
        Ok(receiver)
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        if self.fault == CreatesTopicToList {
            let name = "listed".into();
            let kind = Kind::Command;
            let records = vec![(Topic { kind, name }, Record::default())];
            self.broker().append(records).await.remove(0)?;
        }
        let mut page = self.broker().dead_letters(after, limit).await?;
        if self.fault == ListsDeadLettersBackwards {
            page.reverse();
        }
        Ok(page)
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        let mut positions: BTreeSet<String> = positions.iter().cloned().collect();
        if self.fault == RemovesDeadLettersUpTo {
            let all = self.broker().dead_letters(None, 1_000).await?;
            let last = positions.last().cloned().unwrap_or_default();
            let before = all.into_iter().map(|letter| letter.position);
            positions.extend(before.filter(|position| *position <= last));
        }
        let positions: Vec<_> = positions.into_iter().collect();
        self.broker().remove_dead_letters(&positions).await
    }

    fn check_scheduling(&self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn cancel(&self, topic: &Topic, key: &str) -> Result<bool, TransportError> {
        let topic = spoil_topic(self.fault, topic.clone());
        self.broker().cancel(&topic, key).await
    }
}

impl Inspect for BrokenBroker {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        let mut topics = self.broker().topics().await?;
        if self.fault == ListsReplies && !topics.is_empty() {
            let name = "process".into();
            let kind = Kind::Reply;
            topics.push(Topic { kind, name });
        }
        Ok(topics)
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        let mut states = self.broker().inspect(topics).await?;
        for state in &mut states {
            if self.fault == CountsNothing {
                state.scheduled = 0;
            }
            if self.fault == InspectsAsMember {
                let subscription = Subscription::new(state.topic.clone(), "handlers", "inspector");
                let inspector = self.broker().consume(subscription).await?;
                inspector.receive(1, Duration::ZERO).await?;
            }
            for group in &mut state.groups {
                match self.fault {
                    CountsNothing => group.backlog = Backlog::default(),
                    HidesHolders => group.oldest.iter_mut().for_each(|r| r.holder = None),
                    _ => {}
                }
            }
        }
        Ok(states)
    }
}

fn spoil_topic(fault: Fault, mut topic: Topic) -> Topic {
    match (fault, topic.kind) {
        (_, Kind::DeadLetter) => {}
        (IgnoresKinds, Kind::Query | Kind::Reply) => topic.kind = Kind::Query,
        (IgnoresKinds, _) => topic.kind = Kind::Command,
        (TruncatesNames, _) => {
            let first = topic.name.split(['.', ':', '/', '-', '_']).next();
            topic.name = Cow::Owned(first.unwrap_or_default().to_owned());
        }
        (ReplaysEvents, Kind::Event) => topic.kind = Kind::Command,
        (DropsCommandsWithoutGroup, Kind::Command) => topic.kind = Kind::Event,
        (HasOneReplyChannel, Kind::Reply) => topic.name = "all".into(),
        _ => {}
    }
    topic
}

impl BrokenConsumer {
    /// The leases without their deduplication keys.
    fn without_claims(leases: &[Lease<Receipt>]) -> Vec<Lease<Receipt>> {
        let without = |lease: &Lease<Receipt>| Lease {
            claim: None,
            ..lease.clone()
        };
        leases.iter().map(without).collect()
    }

    fn held(&self) -> Vec<Lease<Receipt>> {
        let lease = |(receipt, _)| Lease {
            receipt,
            claim: None,
        };
        take(&mut *lock(&self.held))
            .into_iter()
            .map(lease)
            .collect()
    }

    fn deliver(&self, mut got: Vec<Delivery<Receipt>>) -> Vec<Delivery<Receipt>> {
        for delivery in &mut got {
            let record = Arc::make_mut(&mut delivery.record);
            if let IgnoresKeys | HasOneKey = self.fault {
                record.key = record.headers.get("hidden").map(|key| (*key).into());
                let pairs: Vec<_> = record
                    .headers
                    .iter()
                    .filter(|(n, _)| *n != "hidden")
                    .collect();
                let pairs = pairs.iter().map(|(name, value)| (*name, &**value));
                record.headers = pairs.collect::<Headers>();
            }
            lock(&self.held).insert(delivery.receipt.clone(), record.clone());
            let holder = (self.consumer.clone(), delivery.receipt.clone());
            lock(&self.shared.holders).insert(name(record), holder);
        }
        got
    }
}

impl Consumer for BrokenConsumer {
    type Receipt = Receipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<Receipt>>, TransportError> {
        let got = match self.fault {
            PollsRarely => {
                tokio::time::sleep(Duration::from_secs(12)).await;
                self.consumer.receive(max, Duration::ZERO).await?
            }
            DoesNotWait => self.consumer.receive(max, Duration::ZERO).await?,
            WaitsForeverForZero if wait.is_zero() => {
                self.consumer
                    .receive(max, Duration::from_secs(3600))
                    .await?
            }
            DeliversTwice => {
                let mut got = self.consumer.receive(max, wait).await?;
                let mut again = lock(&self.again);
                if got.len() < max {
                    got.extend(again.take());
                }
                *again = got.first().cloned();
                got
            }
            ReturnsMoreThanAsked => self.consumer.receive(max + 1, wait).await?,
            LosesRecordsOfDroppedReceives => {
                let got = self.consumer.receive(max, wait).await?;
                self.deliver(got.clone());
                self.consumer.acknowledge(&self.held()).await?;
                tokio::time::sleep(Duration::from_millis(2)).await;
                got
            }
            _ => self.consumer.receive(max, wait).await?,
        };
        Ok(self.deliver(got))
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        if !matches!(
            self.fault,
            GrantsEverything | ClaimsForAllGroups | ReleasesClaimsOfOthers
        ) {
            return self.consumer.claim(keys).await;
        }
        let mut known = lock(&self.shared.keys);
        let now = Instant::now();
        let claim = |key: &Arc<str>| match (self.fault, known.get(key)) {
            (GrantsEverything, _) => Claim::Granted,
            (ClaimsForAllGroups, Some(_)) | (ReleasesClaimsOfOthers, Some(None)) => Claim::Done,
            (_, Some(Some(until))) if *until > now => Claim::Held,
            _ => {
                known.insert(key.clone(), Some(now + self.lease));
                Claim::Granted
            }
        };
        Ok(keys.iter().map(claim).collect())
    }

    async fn acknowledge(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        for lease in leases {
            lock(&self.held).remove(&lease.receipt);
            if let Some(key) = &lease.claim {
                lock(&self.shared.keys).insert(key.clone(), None);
            }
        }
        match self.fault {
            AcknowledgesNothing => Ok(()),
            ConfirmsNoKeys => {
                self.consumer
                    .acknowledge(&Self::without_claims(leases))
                    .await
            }
            ConfirmsKeysLast => {
                self.consumer
                    .acknowledge(&Self::without_claims(leases))
                    .await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.consumer.acknowledge(leases).await
            }
            _ => self.consumer.acknowledge(leases).await,
        }
    }

    fn place(&self, receipt: &Receipt) -> Option<String> {
        self.consumer.place(receipt)
    }

    async fn renew(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        for key in leases.iter().filter_map(|lease| lease.claim.as_ref()) {
            if let Some(Some(until)) = lock(&self.shared.keys).get_mut(key) {
                *until = Instant::now() + self.lease;
            }
        }
        match self.fault {
            RenewsNothing => Ok(()),
            RenewsRecordsAlone => self.consumer.renew(&Self::without_claims(leases)).await,
            _ => self.consumer.renew(leases).await,
        }
    }

    async fn release(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        if self.fault == ReleasesClaimsOfOthers {
            let keys = leases.iter().filter_map(|lease| lease.claim.as_ref());
            keys.for_each(|key| _ = lock(&self.shared.keys).remove(key));
        }
        match self.fault {
            ReleasesNothing => return Ok(()),
            DropsReleasedRecords => return self.consumer.acknowledge(leases).await,
            ReleasesRecordsOfOthers | ReleasesToTheEnd => {}
            _ => return self.consumer.release(leases).await,
        }
        for lease in leases {
            let Some(record) = lock(&self.held).remove(&lease.receipt) else {
                continue;
            };
            if self.fault == ReleasesToTheEnd {
                self.consumer
                    .acknowledge(std::slice::from_ref(lease))
                    .await?;
                self.broker
                    .append(vec![(self.group.0.clone(), record)])
                    .await;
            } else {
                let holder = lock(&self.shared.holders).get(&name(&record)).cloned();
                let (consumer, receipt) = holder.expect("delivered before");
                let claim = lease.claim.clone();
                consumer.release(&[Lease { receipt, claim }]).await?;
            }
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), TransportError> {
        if let Some((members, gone)) = lock(&self.shared.members).get_mut(&self.group) {
            *members -= 1;
            *gone += usize::from(*members == 0);
        }
        if self.fault == DropsRecordsOfClosingMembers {
            self.consumer.acknowledge(&self.held()).await?;
        }
        self.consumer.close().await
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        match self.fault {
            CountsNothing => Ok(Backlog::default()),
            _ => self.consumer.backlog().await,
        }
    }
}

pub struct BrokenReceiver {
    fault: Fault,
    receiver: OnceCell<MemoryReceiver>,
    broker: MemoryBroker,
    topic: Topic,
}

impl BrokenReceiver {
    async fn open(&self) -> Result<&MemoryReceiver, TransportError> {
        let open = || self.broker.listen(self.topic.clone());
        self.receiver.get_or_try_init(open).await
    }
}

impl Receiver for BrokenReceiver {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        let wait = match self.fault {
            PollsRarely => {
                tokio::time::sleep(Duration::from_secs(12)).await;
                Duration::ZERO
            }
            DoesNotWait => Duration::ZERO,
            WaitsForeverForZero if wait.is_zero() => Duration::from_secs(3600),
            _ => wait,
        };
        let got = self.open().await?.receive(max, wait).await?;
        if self.fault == LosesRecordsOfDroppedReceives {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if self.fault == DeliversQueriesAgain {
            let again = got.iter().map(|r| (self.topic.clone(), Record::clone(r)));
            self.broker.append(again.collect()).await;
        }
        Ok(got)
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.open().await?.close().await
    }
}

fn name(record: &Record) -> String {
    record.headers.get("id").unwrap_or_default().into_owned()
}
