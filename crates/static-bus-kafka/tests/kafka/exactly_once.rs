//! Exactly once from Kafka to Kafka, with killed processes, a killed broker and failing handlers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncPublishEvent, BusError},
    prelude::*,
};
use static_bus_kafka::{KafkaConsumer, KafkaReceipt, KafkaTransport, KafkaTransportBuilder};
use static_bus_remote::{
    DeadLetters, Envelope, RemoteBus, Transport, Worker, WorkerHandle,
    transport::{
        Backlog, Claim, Consumer as _, Delivery, Kind, Lease, Record, Scope, Subscription, Topic,
        TransportError, TransportErrorKind,
    },
};

use crate::support::{LONG, command, contents, kafka_at, succeeds};
use test_brokers::doomed::{self, Doomed};
use test_brokers::kafka::{Kafka, KafkaOptions};
use test_brokers::proxy::{Lost, Proxy};

#[derive(Serialize, Deserialize)]
struct Pay {
    invoice: u32,
}
command!(Pay, name = "billing.pay", key = invoice);
#[derive(Serialize, Deserialize)]
struct Paid {
    invoice: u32,
}
event!(Paid, name = "billing.paid");

const LEASE: Duration = Duration::from_secs(6);
/// The time that a commit waits whose answer is lost, and that others wait for the transaction of a killed process.
const DEADLINE: Duration = Duration::from_secs(25);

async fn connect(servers: &str, namespace: &str) -> KafkaTransport {
    connect_at(kafka_at(servers), namespace).await
}

/// A connection whose calls fail if they last longer than [`DEADLINE`].
async fn connect_impatient(servers: &str, namespace: &str) -> KafkaTransport {
    connect_at(kafka_at(servers).deadline(DEADLINE), namespace).await
}

async fn connect_at(kafka: KafkaTransportBuilder, namespace: &str) -> KafkaTransport {
    let kafka = kafka.namespace(namespace).partitions(4);
    kafka.exactly_once().connect().await.unwrap()
}

/// The output of an attempt.
fn effect(scope: &Scope, n: u32) -> (Topic, Record) {
    let envelope = Envelope::new("test", "billing.paid", "application/json");
    let record = Record {
        headers: envelope.headers(),
        body: format!(r#"{{"invoice":{n}}}"#).into(),
        scope: Some(scope.clone()),
        ..Record::default()
    };
    let topic = Topic {
        kind: Kind::Event,
        name: "billing.paid".into(),
    };
    (topic, record)
}

fn cause(n: u32) -> (Topic, Record) {
    let envelope = Envelope::new("test", "billing.pay", "application/json");
    let record = Record {
        headers: envelope.headers(),
        body: format!(r#"{{"invoice":{n}}}"#).into(),
        ..Record::default()
    };
    (command("billing.pay"), record)
}

async fn append(kafka: &KafkaTransport, record: (Topic, Record)) -> Result<(), TransportError> {
    kafka.append(vec![record]).await.remove(0)
}

async fn join(kafka: &KafkaTransport, member: &str) -> KafkaConsumer {
    join_for(kafka, member, LONG).await
}

/// A member that loses what it has received after this time.
async fn join_for(kafka: &KafkaTransport, member: &str, lease: Duration) -> KafkaConsumer {
    let subscription = Subscription::new(command("billing.pay"), "handlers", member);
    kafka.consume(subscription.with_lease(lease)).await.unwrap()
}

/// Receives a record.
async fn receive(member: &KafkaConsumer) -> Delivery<KafkaReceipt> {
    let end = Instant::now() + LONG;
    loop {
        let wait = Duration::from_secs(1);
        if let Some(got) = member.receive(1, wait).await.unwrap().pop() {
            return got;
        }
        assert!(Instant::now() < end, "nothing came");
    }
}

/// Begins an attempt to handle a record.
fn begin(member: &KafkaConsumer, lease: &Lease<KafkaReceipt>) -> Scope {
    member
        .begin(&lease.receipt)
        .expect("the scope of an attempt")
}

/// Receives a record and claims its key.
async fn take(member: &KafkaConsumer) -> (Delivery<KafkaReceipt>, Lease<KafkaReceipt>) {
    let end = Instant::now() + LONG;
    let delivery = receive(member).await;
    let id = Envelope::parse(&delivery.record.headers).unwrap().id;
    let key: Arc<str> = (&*id).into();
    loop {
        match member.claim(std::slice::from_ref(&key)).await.unwrap()[0] {
            Claim::Granted => break,
            Claim::Held => tokio::time::sleep(Duration::from_millis(100)).await,
            Claim::Done => panic!("it was handled"),
        }
        assert!(Instant::now() < end, "its key is not free");
    }
    let lease = Lease {
        receipt: delivery.receipt,
        claim: Some(key),
    };
    (delivery, lease)
}

/// Handles a record, and acknowledges it with the output of its handler.
pub async fn handle_one(kafka: &KafkaTransport) -> Result<(), TransportError> {
    append(kafka, cause(1)).await?;
    let member = join(kafka, "one").await;
    let (_, lease) = take(&member).await;
    let scope = begin(&member, &lease);
    append(kafka, effect(&scope, 1)).await?;
    member.acknowledge(&[lease]).await
}

/// The number of payments of each invoice, as a consumer reads them.
async fn paid(servers: &str, namespace: &str) -> BTreeMap<u32, usize> {
    let mut paid = BTreeMap::new();
    for message in contents(servers, &format!("{namespace}.event.billing.paid")).await {
        let one: Paid = serde_json::from_slice(message.payload().unwrap()).unwrap();
        *paid.entry(one.invoice).or_default() += 1;
    }
    paid
}

/// The client has a call for this that takes 100 ms at least.
#[tokio::test]
async fn a_commit_ends_when_its_output_is_appended() {
    let kafka = connect(Kafka::common().servers(), "once-soon").await;
    let member = join(&kafka, "one").await;
    let begun_all = Instant::now();
    for n in 0.. {
        append(&kafka, cause(n)).await.unwrap();
        let (_, lease) = take(&member).await;
        let scope = begin(&member, &lease);
        append(&kafka, effect(&scope, n)).await.unwrap();
        let begun = Instant::now();
        member.acknowledge(&[lease]).await.unwrap();
        if begun.elapsed() < Duration::from_millis(90) {
            break;
        }
        assert!(begun_all.elapsed() < LONG, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn the_output_of_a_handler_is_appended_with_the_acknowledgement() {
    let (servers, namespace) = (Kafka::common().servers(), "once-together");
    let kafka = connect(servers, namespace).await;
    append(&kafka, cause(1)).await.unwrap();
    let one = join(&kafka, "one").await;
    let (_, lease) = take(&one).await;
    let scope = begin(&one, &lease);
    append(&kafka, effect(&scope, 1)).await.unwrap();
    append(&kafka, effect(&scope, 2)).await.unwrap();
    assert_eq!(paid(servers, namespace).await, BTreeMap::new());
    one.acknowledge(std::slice::from_ref(&lease)).await.unwrap();
    let both = BTreeMap::from([(1, 1), (2, 1)]);
    assert_eq!(paid(servers, namespace).await, both);
    // A repeated acknowledgement has no effect.
    one.acknowledge(std::slice::from_ref(&lease)).await.unwrap();
    assert_eq!(paid(servers, namespace).await, both);
    let other = join(&connect(servers, namespace).await, "other").await;
    let claims = other.claim(&[lease.claim.unwrap()]).await.unwrap();
    assert_eq!(claims, [Claim::Done]);
}

#[tokio::test]
async fn the_output_of_an_attempt_that_has_ended_is_dropped() {
    let (servers, namespace) = (Kafka::common().servers(), "once-given-back");
    let kafka = connect(servers, namespace).await;
    append(&kafka, cause(1)).await.unwrap();
    let one = join(&kafka, "one").await;
    let (_, lease) = take(&one).await;
    let released = begin(&one, &lease);
    append(&kafka, effect(&released, 1)).await.unwrap();
    one.release(&[lease]).await.unwrap();
    let (_, lease) = take(&one).await;
    let failed = begin(&one, &lease);
    append(&kafka, effect(&failed, 2)).await.unwrap();
    let last = begin(&one, &lease);
    append(&kafka, effect(&last, 3)).await.unwrap();
    // Sends that come late: their handlers were cancelled, or did not wait for them.
    for ended in [&released, &failed] {
        let refused = append(&kafka, effect(ended, 4)).await.unwrap_err();
        assert_eq!(refused.kind(), TransportErrorKind::Closed, "{refused}");
        assert!(refused.to_string().contains("has ended"), "{refused}");
    }
    one.acknowledge(&[lease]).await.unwrap();
    assert!(append(&kafka, effect(&last, 5)).await.is_err());
    assert_eq!(paid(servers, namespace).await, BTreeMap::from([(3, 1)]));
    // A consumer that is gone.
    append(&kafka, cause(2)).await.unwrap();
    let (_, lease) = take(&one).await;
    let open = begin(&one, &lease);
    drop(one);
    assert!(append(&kafka, effect(&open, 6)).await.is_err());
}

/// A member that does not renew its lease and acknowledges later.
#[tokio::test]
async fn the_output_for_a_lost_message_is_dropped() {
    let (servers, namespace) = (Kafka::common().servers(), "once-late");
    let (here, there) = (
        connect(servers, namespace).await,
        connect(servers, namespace).await,
    );
    append(&here, cause(1)).await.unwrap();
    let slow = join_for(&here, "slow", LEASE).await;
    let (_, late) = take(&slow).await;
    append(&here, effect(&begin(&slow, &late), 1))
        .await
        .unwrap();
    let other = join(&there, "other").await;
    let (_, lease) = take(&other).await;
    append(&there, effect(&begin(&other, &lease), 2))
        .await
        .unwrap();
    slow.acknowledge(&[late]).await.unwrap();
    assert_eq!(paid(servers, namespace).await, BTreeMap::new());
    other.acknowledge(&[lease]).await.unwrap();
    assert_eq!(paid(servers, namespace).await, BTreeMap::from([(2, 1)]));
}

/// A handler that still runs when the same member, or another one on its connection, gets its message again.
#[tokio::test]
async fn two_handlers_of_one_message_do_not_share_their_output() {
    let servers = Kafka::common().servers();
    for (namespace, members) in [("once-again", 1), ("once-beside", 2)] {
        let kafka = connect(servers, namespace).await;
        append(&kafka, cause(1)).await.unwrap();
        // Longer than the contents of a topic take to be read.
        let one = join_for(&kafka, "one", 3 * LEASE).await;
        let (_, late) = take(&one).await;
        let first = begin(&one, &late);
        append(&kafka, effect(&first, 1)).await.unwrap();
        // The lease runs out, and the member leaves its group.
        let two = join(&kafka, "two").await;
        let next = if members == 1 { &one } else { &two };
        let again = receive(next).await;
        append(&kafka, effect(&first, 1)).await.unwrap();
        let lease = Lease {
            receipt: again.receipt,
            claim: late.claim.clone(),
        };
        let second = begin(next, &lease);
        append(&kafka, effect(&second, 2)).await.unwrap();
        append(&kafka, effect(&first, 1)).await.unwrap();
        one.acknowledge(&[late]).await.unwrap();
        assert_eq!(paid(servers, namespace).await, BTreeMap::new());
        next.acknowledge(&[lease]).await.unwrap();
        let paid = paid(servers, namespace).await;
        assert_eq!(paid, BTreeMap::from([(2, 1)]), "{members} members");
    }
}

/// Each subscriber of one event has its own delivery, and so its own output.
#[tokio::test]
async fn two_subscribers_on_one_connection_do_not_share_their_output() {
    let (servers, namespace) = (Kafka::common().servers(), "once-subscribers");
    let kafka = connect(servers, namespace).await;
    let subscribe = async |name: &'static str| {
        let topic = Topic {
            kind: Kind::Event,
            name: "billing.due".into(),
        };
        let subscription = Subscription::new(topic.clone(), name, name);
        (kafka.consume(subscription).await.unwrap(), topic)
    };
    let ((audit, topic), (stock, _)) = (subscribe("audit").await, subscribe("stock").await);
    append(&kafka, (topic, cause(1).1)).await.unwrap();
    let ((_, audited), (_, stocked)) = (take(&audit).await, take(&stock).await);
    let (one, two) = (begin(&audit, &audited), begin(&stock, &stocked));
    append(&kafka, effect(&one, 1)).await.unwrap();
    append(&kafka, effect(&two, 2)).await.unwrap();
    audit.acknowledge(&[audited]).await.unwrap();
    assert_eq!(paid(servers, namespace).await, BTreeMap::from([(1, 1)]));
    stock.acknowledge(&[stocked]).await.unwrap();
    let both = BTreeMap::from([(1, 1), (2, 1)]);
    assert_eq!(paid(servers, namespace).await, both);
}

/// The scope of another connection: its consumer does not append what is sent here.
#[tokio::test]
async fn output_on_another_connection_is_appended_at_once() {
    let (servers, namespace) = (Kafka::common().servers(), "once-elsewhere");
    let (here, there) = (
        connect(servers, namespace).await,
        connect(servers, namespace).await,
    );
    append(&here, cause(1)).await.unwrap();
    let one = join(&here, "one").await;
    let (_, lease) = take(&one).await;
    let scope = begin(&one, &lease);
    append(&there, effect(&scope, 1)).await.unwrap();
    assert_eq!(paid(servers, namespace).await, BTreeMap::from([(1, 1)]));
    one.acknowledge(&[lease]).await.unwrap();
    assert_eq!(paid(servers, namespace).await, BTreeMap::from([(1, 1)]));
}

/// A producer of another program that has begun a transaction, with the time in milliseconds after which the cluster aborts it.
fn in_transaction(servers: &str, id: &str, timeout: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", timeout)
        .create()
        .unwrap();
    producer.init_transactions(LONG).unwrap();
    producer.begin_transaction().unwrap();
    producer
}

#[tokio::test]
async fn aborted_records_are_not_delivered_and_do_not_block_others() {
    let (servers, namespace) = (Kafka::common().servers(), "once-aborted");
    let kafka = connect(servers, namespace).await;
    append(&kafka, cause(1)).await.unwrap();
    let abort = move || {
        let producer = in_transaction(servers, namespace, "60000");
        let topic = "once-aborted.command.billing.pay";
        for _ in 0..5 {
            let record = BaseRecord::<(), _>::to(topic).payload("aborted");
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(LONG).unwrap();
        producer.abort_transaction(LONG).unwrap();
    };
    tokio::task::spawn_blocking(abort).await.unwrap();
    append(&kafka, cause(2)).await.unwrap();
    let one = join(&kafka, "one").await;
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let (delivery, lease) = take(&one).await;
        bodies.push(delivery.record.body.clone());
        one.acknowledge(&[lease]).await.unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, [r#"{"invoice":1}"#, r#"{"invoice":2}"#]);
    // They do not count as backlog, for the member with the partitions and for one without.
    let end = Instant::now() + LONG;
    while one.backlog().await.unwrap() != Backlog::default() {
        assert!(Instant::now() < end, "{:?}", one.backlog().await.unwrap());
    }
    let two = join(&kafka, "two").await;
    for _ in 0..3 {
        assert_eq!(two.backlog().await.unwrap(), Backlog::default());
    }
}

#[tokio::test]
async fn unsupported_use_is_refused() {
    let servers = Kafka::common().servers();
    let kafka = connect(servers, "once-refused").await;
    let mut forgetful = Subscription::new(command("billing.pay"), "handlers", "forgetful");
    forgetful.deduplication = None;
    let refused = kafka.consume(forgetful).await.unwrap_err().to_string();
    assert!(refused.contains("needs deduplication"), "{refused}");

    append(&kafka, cause(1)).await.unwrap();
    let one = join(&kafka, "one").await;
    let (_, lease) = take(&one).await;
    let scope = begin(&one, &lease);
    let (topic, mut large) = effect(&scope, 1);
    large.body = vec![b'x'; 2_000_000].into();
    let refused = append(&kafka, (topic, large))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("message.max.bytes"), "{refused}");
    append(&kafka, effect(&scope, 2)).await.unwrap();
    one.acknowledge(&[lease]).await.unwrap();
    let paid = paid(servers, "once-refused").await;
    assert_eq!(paid, BTreeMap::from([(2, 1)]));
}

/// A worker that publishes payments. Its handler then fails this number of times for every third invoice.
async fn pay(servers: &str, namespace: &str, fails: u32) -> WorkerHandle<KafkaTransport> {
    let kafka = connect_impatient(servers, namespace).await;
    let remote = RemoteBus::connect(kafka.clone()).await.unwrap();
    let failed = Arc::new(Mutex::new(HashMap::new()));
    let bus = BusBuilder::new()
        .register_command_async_fn(move |pay: Pay| {
            let (remote, failed) = (remote.clone(), failed.clone());
            async move {
                let Pay { invoice } = pay;
                remote.publish_async(&Paid { invoice }).await?;
                tokio::time::sleep(Duration::from_millis(3)).await;
                let mut failed = failed.lock().unwrap();
                let times: &mut u32 = failed.entry(invoice).or_default();
                if invoice % 3 > 0 || *times >= fails {
                    return Ok(());
                }
                *times += 1;
                Err(BusError::rejected::<Pay>("not this time"))
            }
        })
        .build();
    let worker = Worker::new(kafka, bus).command::<Pay>().lease(LEASE);
    worker.start().await.unwrap()
}

async fn send(servers: &str, namespace: &str, invoices: std::ops::Range<u32>) {
    let kafka = kafka_at(servers).namespace(namespace);
    let kafka = kafka.partitions(4).connect().await.unwrap();
    let remote = RemoteBus::connect(kafka).await.unwrap();
    let all = invoices.map(|invoice| Pay { invoice });
    remote.execute_many(all).await.unwrap();
}

/// Waits until the whole topic is committed, and checks that each invoice is paid once.
async fn is_paid_once(servers: &str, namespace: &str, invoices: u32) {
    let mut last = (Instant::now(), Vec::new());
    loop {
        let left = left(servers, namespace).await;
        if left.iter().all(|left| *left == 0) {
            break;
        }
        if left != last.1 {
            last = (Instant::now(), left);
        }
        assert!(last.0.elapsed() < LONG, "no progress: {:?} left", last.1);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let paid = paid(servers, namespace).await;
    let missing: Vec<_> = (0..invoices).filter(|n| !paid.contains_key(n)).collect();
    let doubled: Vec<_> = paid.iter().filter(|(_, count)| **count > 1).collect();
    assert!(
        missing.is_empty() && doubled.is_empty(),
        "missing: {missing:?}, more than once: {doubled:?}"
    );
}

/// The number of messages of each partition that are not committed.
async fn left(servers: &str, namespace: &str) -> Vec<i64> {
    let (servers, topic) = (
        servers.to_owned(),
        format!("{namespace}.command.billing.pay"),
    );
    let look = move || {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("group.id", format!("{topic}@handlers"))
            .set("isolation.level", "read_committed")
            .create()
            .unwrap();
        let mut places = TopicPartitionList::new();
        places.add_partition_range(&topic, 0, 3);
        // The group may be rebalancing, or its broker starting.
        let Ok(committed) = client.committed_offsets(places, LONG) else {
            return vec![-1];
        };
        let left = committed.elements().into_iter().map(|place| {
            let (begin, end) = client.fetch_watermarks(&topic, place.partition(), LONG)?;
            Ok::<_, rdkafka::error::KafkaError>(match place.offset() {
                Offset::Offset(offset) => end - offset,
                _ => end - begin,
            })
        });
        left.collect::<Result<_, _>>().unwrap_or_else(|_| vec![-1])
    };
    tokio::task::spawn_blocking(look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_handlers_that_fail_after_sending_is_appended_once() {
    let (servers, namespace) = (Kafka::common().servers(), "once-failures");
    send(servers, namespace, 0..200).await;
    let kafka = connect(servers, namespace).await;
    let payer = pay(servers, namespace, 2).await;
    is_paid_once(servers, namespace, 200).await;
    let dead = DeadLetters::of(kafka).list(None, 10).await.unwrap();
    assert_eq!(dead.len(), 0, "{dead:?}");
    payer.shutdown(LEASE).await;
}

fn payer(servers: &str, namespace: &str) -> Doomed {
    let told = format!("{servers} {namespace}");
    Doomed::start("exactly_once::the_payer_that_is_killed", &told)
}

/// The child process of a test. Does nothing without the address of a broker.
#[tokio::test]
async fn the_payer_that_is_killed() {
    let Some(told) = doomed::told() else { return };
    let (servers, namespace) = told.split_once(' ').unwrap();
    let _running = pay(servers, namespace, 0).await;
    // Ends by itself if it is not killed.
    tokio::time::sleep(2 * LONG).await;
}

/// Waits until this number of invoices is paid.
async fn progress(servers: &str, namespace: &str, count: usize) {
    let mut last = (Instant::now(), 0);
    loop {
        let paid = paid(servers, namespace).await.len();
        if paid >= count {
            return;
        }
        if paid > last.1 {
            last = (Instant::now(), paid);
        }
        assert!(
            last.0.elapsed() < LONG,
            "no progress: {paid} of {count} paid"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_killed_processes_is_appended_once() {
    let (servers, namespace) = (Kafka::common().servers(), "once-killed");
    send(servers, namespace, 0..4000).await;
    let mut payers = [payer(servers, namespace), payer(servers, namespace)];
    for round in 0..4 {
        progress(servers, namespace, 300 * (round + 1)).await;
        // Replacing a process kills it.
        payers[round % 2] = payer(servers, namespace);
    }
    is_paid_once(servers, namespace, 4000).await;
}

/// A process that is killed before its transaction has offsets holds up no member, and hides what the others append.
#[tokio::test(flavor = "multi_thread")]
async fn output_behind_the_transaction_of_a_killed_process_is_seen_once_when_it_is_aborted() {
    let (servers, namespace) = (Kafka::common().servers(), "once-hidden");
    let remote = RemoteBus::connect(connect(servers, namespace).await);
    let event = Paid { invoice: 0 };
    remote.await.unwrap().publish_async(&event).await.unwrap();
    let begin = move || {
        let producer = in_transaction(servers, namespace, "10000");
        for partition in 0..4 {
            let record = BaseRecord::<(), _>::to("once-hidden.event.billing.paid");
            let record = record.partition(partition).payload("aborted");
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(LONG).unwrap();
    };
    tokio::task::spawn_blocking(begin).await.unwrap();
    send(servers, namespace, 1..200).await;
    let payer = pay(servers, namespace, 0).await;
    is_paid_once(servers, namespace, 200).await;
    payer.shutdown(LEASE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_has_all_output_once() {
    let mut kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let (servers, namespace) = (kafka.servers().to_owned(), "once-restarted");
    send(&servers, namespace, 0..3000).await;
    let payers = [
        pay(&servers, namespace, 1).await,
        pay(&servers, namespace, 1).await,
    ];
    for round in 1..3 {
        progress(&servers, namespace, 500 * round).await;
        kafka = tokio::task::spawn_blocking(move || {
            kafka.restart();
            kafka
        })
        .await
        .unwrap();
    }
    is_paid_once(&servers, namespace, 3000).await;
    for payer in payers {
        payer.shutdown(LEASE).await;
    }
}

async fn start_proxied() -> Kafka {
    let options = KafkaOptions {
        proxied: true,
        ..KafkaOptions::default()
    };
    let start = move || Kafka::with(options);
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// Waits until the end of a transaction is lost.
async fn has_lost_one(proxy: &Proxy) {
    let end = Instant::now() + LONG;
    while proxy.lost() == 0 {
        assert!(Instant::now() < end, "no transaction");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The cluster commits a transaction, and its member does not learn it. Meanwhile another member gets some of the
/// partitions, and commits later positions.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_not_repeated() {
    let (kafka, namespace) = (start_proxied().await, "once-no-answer");
    let there = connect(kafka.servers(), namespace).await;
    let here = connect_impatient(kafka.proxy().servers(), namespace).await;
    let causes = async |invoices: std::ops::Range<u32>| {
        for n in invoices {
            let (topic, mut record) = cause(n);
            record.key = Some(n.to_string().into());
            append(&there, (topic, record)).await.unwrap();
        }
    };
    causes(0..8).await;
    // Its partitions move while the commit waits, and no earlier.
    let one = join_for(&here, "one", DEADLINE - LEASE).await;
    let mut leases = Vec::new();
    for n in 0..8 {
        let (_, lease) = take(&one).await;
        append(&here, effect(&begin(&one, &lease), n))
            .await
            .unwrap();
        leases.push(lease);
    }
    kafka.proxy().lose_transactions(Lost::Answer);
    let settle = async |member: &KafkaConsumer, leases: &[Lease<_>]| {
        succeeds(async || member.acknowledge(leases).await).await;
    };
    let other = async {
        has_lost_one(kafka.proxy()).await;
        let two = join(&there, "two").await;
        causes(8..40).await;
        let (_, lease) = take(&two).await;
        append(&there, effect(&begin(&two, &lease), 8))
            .await
            .unwrap();
        settle(&two, &[lease]).await;
    };
    tokio::join!(settle(&one, &leases), other);
    let once = (0..=8).map(|n| (n, 1)).collect::<BTreeMap<_, _>>();
    assert_eq!(paid(kafka.servers(), namespace).await, once);
}

/// The cluster does not commit a transaction, and its member does not learn it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_request_is_lost_is_repeated() {
    let (kafka, namespace) = (start_proxied().await, "once-no-request");
    let (servers, proxy) = (kafka.servers(), kafka.proxy());
    send(servers, namespace, 0..200).await;
    proxy.lose_transactions(Lost::Request);
    let payer = pay(proxy.servers(), namespace, 1).await;
    has_lost_one(proxy).await;
    // Longer than a commit waits.
    tokio::time::sleep(DEADLINE + DEADLINE / 2).await;
    proxy.lose_nothing();
    is_paid_once(servers, namespace, 200).await;
    payer.shutdown(LEASE).await;
}
