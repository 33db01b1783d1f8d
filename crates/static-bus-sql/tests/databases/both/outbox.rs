//! The outbox, its relay and the inbox, with another broker.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use sqlx::{AssertSqlSafe, Transaction};
use static_bus::prelude::*;
use static_bus_remote::{
    Headers, MemoryBroker, RemoteBus, Transport, TransportError, TransportErrorKind, Worker,
    transport::{
        Consumer as _, DeadLetterRecord, Delivery, Lease, Record, Subscription, Topic,
        Transactional as _,
    },
    with_scope,
};
use static_bus_sql::{Outbox, RelayHandle};
use tokio::sync::Notify;

use super::{
    Database, connect, home,
    inbox::{Deposit, Deposited, Entries, enter, eventually},
    prefixes,
    support::{LONG, acknowledge, bodies, command, event, join, keyed, record},
};

/// A broker that can be told to refuse.
#[derive(Clone, Default)]
pub struct Moody {
    broker: MemoryBroker,
    /// Every third record is refused.
    some: Arc<AtomicBool>,
    /// The records of this topic are refused.
    topic: Arc<AtomicBool>,
    /// The next call waits until it may go on.
    stalls: Arc<AtomicBool>,
    /// The number of records of the call that waits.
    stalled: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
    appended: Arc<AtomicUsize>,
}

const REFUSED: &str = "billing.refused";

impl Transport for Moody {
    type Consumer = <MemoryBroker as Transport>::Consumer;
    type Receiver = <MemoryBroker as Transport>::Receiver;

    fn address(&self) -> &str {
        "moody"
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.broker.check().await
    }

    async fn warnings(&self) -> Vec<String> {
        vec!["the broker is in a bad mood".to_owned()]
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        if self.stalls.swap(false, Ordering::Relaxed) {
            self.stalled.store(records.len(), Ordering::Relaxed);
            self.go_on.notified().await;
        }
        let mut results = Vec::with_capacity(records.len());
        for (topic, record) in records {
            let count = self.appended.fetch_add(1, Ordering::Relaxed);
            let is_some = self.some.load(Ordering::Relaxed) && count % 3 == 1;
            let is_topic = self.topic.load(Ordering::Relaxed) && topic.name == REFUSED;
            results.push(match is_some || is_topic {
                true => Err(TransportError::new(
                    TransportErrorKind::Refused,
                    "moody",
                    "not today",
                )),
                false => self.broker.append(vec![(topic, record)]).await.remove(0),
            });
        }
        results
    }

    async fn consume(&self, subscription: Subscription) -> Result<Self::Consumer, TransportError> {
        self.broker.consume(subscription).await
    }

    async fn listen(&self, topic: Topic) -> Result<Self::Receiver, TransportError> {
        self.broker.listen(topic).await
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        self.broker.dead_letters(after, limit).await
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        self.broker.remove_dead_letters(positions).await
    }
}

pub struct Shop {
    pub outbox: Outbox<Moody, Database>,
    pub broker: Moody,
    pub entries: Entries,
    told: String,
}

impl Shop {
    pub async fn new() -> Self {
        let (home, told) = home();
        let broker = Moody::default();
        Shop {
            outbox: connect(&told).await.outbox(broker.clone()),
            broker,
            entries: Entries::new(home, &told).await,
            told,
        }
    }

    /// Commits a transaction with records.
    pub async fn commit(&self, topic: &Topic, records: impl IntoIterator<Item = Record>) {
        let mut transaction = self.entries.begin().await;
        let records = records
            .into_iter()
            .map(|record| (topic.clone(), record))
            .collect();
        self.outbox
            .append_within(&mut transaction, records)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }

    /// Renames a table of the transport.
    async fn rename(&self, from: &str, to: &str, transaction: &mut Transaction<'_, Database>) {
        let [table, new] = prefixes(&self.told);
        let rename = format!("alter table {table}{from} rename to {new}{to}");
        let rename = sqlx::query(AssertSqlSafe(rename));
        rename.execute(&mut **transaction).await.unwrap();
    }

    pub async fn relay(&self) -> RelayHandle<Database> {
        self.outbox
            .relay()
            .lease(Duration::from_secs(1))
            .start()
            .await
            .unwrap()
    }
}

fn lease<R: Clone>(delivery: &Delivery<R>, claim: Option<&str>) -> Lease<R> {
    Lease {
        receipt: delivery.receipt.clone(),
        claim: claim.map(Into::into),
    }
}

#[tokio::test]
async fn the_broker_gets_the_messages_of_committed_transactions_from_the_relay() {
    let shop = Shop::new().await;
    let remote = RemoteBus::connect(shop.outbox.clone()).await.unwrap();
    let deposits = join(&shop.broker, &command("bank.deposit"), "member").await;
    let relay = shop.relay().await;
    for (amount, commits) in [(1, false), (2, true), (3, false), (4, true)] {
        let mut transaction = shop.entries.begin().await;
        let bus = remote.within(&mut transaction);
        bus.execute_async(Deposit { amount }).await.unwrap();
        match commits {
            true => transaction.commit().await.unwrap(),
            false => transaction.rollback().await.unwrap(),
        }
    }
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(deposits.receive(10, LONG).await.unwrap());
    }
    let mut bodies = bodies(&got);
    bodies.sort();
    assert_eq!(bodies, [r#"{"amount":2}"#, r#"{"amount":4}"#]);
    eventually("the outbox is empty", async || {
        relay.health().await.lag == 0
    })
    .await;
    relay.shutdown().await.unwrap();
    assert!(
        deposits
            .receive(10, Duration::ZERO)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_waits_and_what_was_moved_is_measured() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    // A snapshot begins counters anew.
    let relayed = Cell::new(0);
    let measured = async |lag: f64, moved: u64| {
        eventually(&format!("{lag} wait and {moved} were moved"), async || {
            let mut gauges = BTreeMap::new();
            for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
                match (key.key().name(), value) {
                    ("static_bus_relayed_total", DebugValue::Counter(count)) => {
                        relayed.set(relayed.get() + count);
                    }
                    (name, DebugValue::Gauge(value)) => {
                        gauges.insert(name.to_owned(), value.into_inner());
                    }
                    _ => {}
                }
            }
            relayed.get() == moved
                && gauges.get("static_bus_outbox_lag") == Some(&lag)
                && gauges
                    .get("static_bus_outbox_oldest_seconds")
                    .is_some_and(|oldest| (*oldest > 0.0) == (lag > 0.0))
        })
        .await;
    };
    let shop = Shop::new().await;
    shop.broker.topic.store(true, Ordering::Relaxed);
    shop.commit(&command(REFUSED), (0..3).map(record)).await;
    let relay = shop.relay().await;
    measured(3.0, 0).await;
    shop.broker.topic.store(false, Ordering::Relaxed);
    measured(0.0, 3).await;
    relay.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_not_sent_in_a_transaction_goes_to_the_broker_at_once() {
    let shop = Shop::new().await;
    let remote = RemoteBus::connect(shop.outbox.clone()).await.unwrap();
    let deposits = join(&shop.broker, &command("bank.deposit"), "member").await;
    remote.execute_async(Deposit { amount: 1 }).await.unwrap();
    assert_eq!(
        deposits.receive(10, Duration::ZERO).await.unwrap().len(),
        1,
        "without a relay"
    );
}

#[tokio::test]
async fn the_order_of_each_key_is_kept_though_the_broker_refuses_some_records() {
    let shop = Shop::new().await;
    let topic = command("billing.pay");
    let member = join(&shop.broker, &topic, "member").await;
    for first in (0..100).step_by(20) {
        let records = (first..first + 20).map(|n| keyed(&format!("key {}", n % 7), n));
        shop.commit(&topic, records).await;
    }
    shop.broker.some.store(true, Ordering::Relaxed);
    let relay = shop.relay().await;
    let mut of_key = BTreeMap::<_, Vec<usize>>::new();
    let mut count = 0;
    while count < 100 {
        let got = member.receive(1000, LONG).await.unwrap();
        acknowledge(&member, &got).await.unwrap();
        for delivery in got {
            let number = bodies(std::slice::from_ref(&delivery))[0].parse().unwrap();
            of_key
                .entry(delivery.record.key.clone())
                .or_default()
                .push(number);
            count += 1;
        }
    }
    assert_eq!(of_key.len(), 7);
    for (key, numbers) in of_key {
        assert!(numbers.is_sorted(), "{key:?}: {numbers:?}");
    }
    eventually("nothing is refused", async || relay.health().await.ready).await;
    relay.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_refused_message_is_named_and_waits_until_the_broker_accepts_it() {
    let shop = Shop::new().await;
    let refused = command(REFUSED);
    shop.broker.topic.store(true, Ordering::Relaxed);
    shop.commit(&refused, [keyed("a", "refused")]).await;
    // Keys of other partitions, and of the same.
    let others = command("billing.pay");
    shop.commit(&others, (0..100).map(|n| keyed(&format!("other {n}"), n)))
        .await;
    let member = join(&shop.broker, &others, "member").await;
    let relay = shop.relay().await;
    eventually("the others are moved", async || {
        let lag = relay.health().await.lag;
        lag > 0 && lag < 30
    })
    .await;
    assert!(member.backlog().await.unwrap().lag > 70);
    let health = relay.health().await;
    assert!(health.live && !health.ready);
    assert_eq!(
        health.reasons,
        ["row 1 of the outbox, command billing.refused: moody: not today"]
    );
    assert!(health.oldest > Duration::ZERO);

    shop.broker.topic.store(false, Ordering::Relaxed);
    eventually("all are moved", async || relay.health().await.lag == 0).await;
    eventually("the relay is well", async || relay.health().await.ready).await;
    relay.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_relay_that_is_busy_after_a_failure_of_the_database_is_ready() {
    let shop = Shop::new().await;
    let relay = shop.relay().await;
    let mut transaction = shop.entries.begin().await;
    shop.rename("outbox", "away", &mut transaction).await;
    transaction.commit().await.unwrap();
    eventually(
        "the relay fails, and the question for its health",
        async || relay.health().await.reasons.len() == 2,
    )
    .await;

    // More than two calls take.
    let records = (0..1200).map(|n| (command("billing.pay"), record(n)));
    shop.broker.stalls.store(true, Ordering::Relaxed);
    let mut transaction = shop.entries.begin().await;
    shop.rename("away", "outbox", &mut transaction).await;
    let appended = shop
        .outbox
        .append_within(&mut transaction, records.collect());
    appended.await.unwrap();
    transaction.commit().await.unwrap();
    let stalled = || shop.broker.stalled.swap(0, Ordering::Relaxed);
    eventually("the first call", async || stalled() > 0).await;
    shop.broker.stalls.store(true, Ordering::Relaxed);
    shop.broker.go_on.notify_one();
    eventually("the second call", async || stalled() > 0).await;
    let health = relay.health().await;
    assert!(health.ready && health.lag > 0, "{health:?}");
    shop.broker.go_on.notify_one();
    relay.shutdown().await.unwrap();
}

/// The shortest of ten times that it takes to relay a message, while this many wait in another partition behind a refused one.
async fn relaying(blocked: u32) -> Duration {
    let shop = Shop::new().await;
    shop.broker.topic.store(true, Ordering::Relaxed);
    for from in (0..blocked).step_by(1_000) {
        let some = (from..from + 1_000).map(|n| keyed("blocked", n));
        shop.commit(&command(REFUSED), some).await;
    }
    let relay = shop.relay().await;
    let topic = command("billing.pay");
    let member = join(&shop.broker, &topic, "member").await;
    let mut shortest = Duration::MAX;
    for n in 0..10 {
        let begun = Instant::now();
        shop.commit(&topic, [keyed("free", n)]).await;
        let got = member.receive(1, LONG).await.unwrap();
        shortest = shortest.min(begun.elapsed());
        acknowledge(&member, &got).await.unwrap();
    }
    relay.shutdown().await.unwrap();
    shortest
}

#[tokio::test]
async fn relaying_does_not_get_slower_with_the_backlog_of_a_partition_that_waits() {
    let (none, many) = (relaying(0).await, relaying(60_000).await);
    assert!(many < 5 * none, "{many:?}, and {none:?} without a backlog");
}

#[tokio::test]
async fn large_messages_are_relayed_few_at_a_time() {
    let shop = Shop::new().await;
    let topic = command("billing.pay");
    let large = "x".repeat(200_000);
    shop.commit(&topic, (0..40).map(|_| record(&large))).await;
    shop.broker.stalls.store(true, Ordering::Relaxed);
    let relay = shop.relay().await;
    let stalled = || shop.broker.stalled.load(Ordering::Relaxed);
    eventually("the first call", async || stalled() > 0).await;
    assert!(stalled() <= 6, "{}", stalled());
    shop.broker.go_on.notify_one();
    eventually("all are moved", async || relay.health().await.lag == 0).await;
    relay.shutdown().await.unwrap();
}

#[tokio::test]
async fn relays_share_the_partitions_and_take_over_from_one_that_has_died() {
    let shop = Shop::new().await;
    let (first, second) = (shop.relay().await, shop.relay().await);
    let partitions = async |relay: &RelayHandle<Database>| relay.health().await.partitions;
    eventually("both have a half", async || {
        partitions(&first).await == 8 && partitions(&second).await == 8
    })
    .await;
    drop(second);
    eventually("the first has all", async || partitions(&first).await == 16).await;
    let third = shop.relay().await;
    eventually("a new one has a half", async || {
        partitions(&third).await == 8
    })
    .await;
    first.shutdown().await.unwrap();
    eventually("the last has all", async || partitions(&third).await == 16).await;
    let topic = command("billing.pay");
    shop.commit(&topic, (0..100).map(|n| keyed(&n.to_string(), n)))
        .await;
    eventually("all are moved", async || third.health().await.lag == 0).await;
    let member = join(&shop.broker, &topic, "member").await;
    assert_eq!(member.backlog().await.unwrap().lag, 100);
    third.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_relay_that_was_taken_over_from_makes_no_further_call_and_what_it_sends_twice_has_one_id()
{
    let shop = Shop::new().await;
    let topic = command("billing.pay");
    let member = join(&shop.broker, &topic, "member").await;
    let records = (0..100).map(|n| Record {
        headers: Headers::from_iter([("id", &*format!("message {n}"))]),
        ..keyed(&format!("key {}", n % 7), n)
    });
    shop.commit(&topic, records).await;
    shop.broker.stalls.store(true, Ordering::Relaxed);
    let first = shop.relay().await;
    let stalled = || shop.broker.stalled.load(Ordering::Relaxed);
    eventually("a call waits", async || stalled() > 0).await;
    let second = shop.relay().await;
    // The number and the id of the messages of each key.
    let mut of_key = BTreeMap::<_, Vec<(usize, String)>>::new();
    let receive = async |of_key: &mut BTreeMap<_, Vec<_>>, mut count: usize| {
        while count > 0 {
            for delivery in member.receive(1000, LONG).await.unwrap() {
                let number = bodies(std::slice::from_ref(&delivery))[0].parse().unwrap();
                let id = delivery.record.headers.get("id").unwrap().into_owned();
                let key = delivery.record.key.clone();
                of_key.entry(key).or_default().push((number, id));
                count -= 1;
            }
        }
    };
    receive(&mut of_key, 100).await;
    for (key, messages) in &of_key {
        assert!(messages.is_sorted(), "{key:?}: {messages:?}");
    }
    eventually("the second has moved all", async || {
        second.health().await.lag == 0
    })
    .await;
    let before = shop.broker.appended.load(Ordering::Relaxed);
    shop.broker.go_on.notify_one();
    first.shutdown().await.unwrap();
    let after = shop.broker.appended.load(Ordering::Relaxed);
    assert_eq!(
        after - before,
        stalled(),
        "the records of the call that waited"
    );
    let mut twice = BTreeMap::new();
    receive(&mut twice, stalled()).await;
    for (key, messages) in twice {
        for message in messages {
            assert!(of_key[&key].contains(&message), "{key:?}: {message:?}");
        }
    }
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_delivered_again_has_no_second_effect() {
    let shop = Shop::new().await;
    let topic = command("bank.deposit");
    let remote = RemoteBus::connect(shop.outbox.clone()).await.unwrap();
    let member = join(&shop.outbox, &topic, "member").await;
    shop.broker
        .append(vec![(topic.clone(), record("a deposit"))])
        .await
        .remove(0)
        .unwrap();
    for _ in 0..3 {
        let delivery = member.receive(1, LONG).await.unwrap().remove(0);
        let scope = member.begin(&delivery.receipt).unwrap();
        with_scope(scope.clone(), async {
            enter(1).await.unwrap();
            remote
                .publish_async(&Deposited { amount: 1 })
                .await
                .unwrap();
        })
        .await;
        member
            .finish(&lease(&delivery, Some("id")), &scope)
            .await
            .unwrap();
        // The worker dies before it acknowledges.
        member.release(&[lease(&delivery, None)]).await.unwrap();
    }
    assert_eq!(shop.entries.all().await, [1]);
    let events = join(&shop.broker, &event("bank.deposited"), "audit").await;
    let relay = shop.relay().await;
    eventually("the outbox is empty", async || {
        relay.health().await.lag == 0
    })
    .await;
    assert_eq!(events.backlog().await.unwrap().lag, 1);
    relay.shutdown().await.unwrap();
}

#[tokio::test]
async fn without_deduplication_no_message_is_handled_in_a_transaction() {
    let shop = Shop::new().await;
    let topic = command("bank.deposit");
    let subscription =
        Subscription::new(topic.clone(), "handlers", "member").with_deduplication(None);
    let member = shop.outbox.consume(subscription).await.unwrap();
    shop.broker
        .append(vec![(topic, record("a deposit"))])
        .await
        .remove(0)
        .unwrap();
    let delivery = member.receive(1, LONG).await.unwrap().remove(0);
    let scope = member.begin(&delivery.receipt).unwrap();
    with_scope(scope.clone(), async { enter(1).await.unwrap() }).await;
    let error = member
        .finish(&lease(&delivery, None), &scope)
        .await
        .unwrap_err()
        .to_string();
    let expected = "command bank.deposit for handlers: handling in a transaction needs deduplication: set `Worker::deduplication`";
    assert!(error.ends_with(expected), "{error}");
    drop(scope);
    assert_eq!(shop.entries.all().await, [0; 0]);
}

#[tokio::test]
async fn a_worker_on_another_broker_handles_in_transactions() {
    let shop = Shop::new().await;
    let remote = RemoteBus::connect(shop.outbox.clone()).await.unwrap();
    let events = join(&shop.broker, &event("bank.deposited"), "audit").await;
    let bus = BusBuilder::new()
        .register_command_async::<Deposit, _>(super::inbox::bank(5))
        .subscribe_async::<Deposited, _>(remote.clone())
        .build();
    let worker = Worker::new(shop.outbox.clone(), bus)
        .command::<Deposit>()
        .start()
        .await
        .unwrap();
    let relay = shop.relay().await;
    for amount in [1, 2, 3] {
        remote.execute_async(Deposit { amount }).await.unwrap();
    }
    eventually("all are handled", async || {
        shop.entries.all().await == [1, 2, 3]
    })
    .await;
    eventually("all events came", async || {
        events.backlog().await.unwrap().lag == 3
    })
    .await;
    worker.shutdown(LONG).await;
    relay.shutdown().await.unwrap();
    assert_eq!(shop.entries.all().await, [1, 2, 3]);
}
