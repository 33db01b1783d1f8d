//! Claims of several members on a broker, beyond the conformance suite.

use super::*;
use crate::{settings::KafkaTransportBuilder, writer::BATCH_BYTES};
use rdkafka::{
    admin::{AdminOptions, AlterConfig, ResourceSpecifier},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use static_bus_remote::transport::{Kind, Topic};
use std::time::Instant;

use test_brokers::kafka::{Kafka, KafkaOptions};

const LEASE: Duration = Duration::from_secs(20);
const KEPT: Duration = Duration::from_secs(60);

fn topic() -> Topic {
    Topic {
        kind: Kind::Command,
        name: "orders.place".into(),
    }
}

fn connect(kafka: &Kafka, namespace: &str) -> Arc<Cluster> {
    let builder = KafkaTransportBuilder::new(kafka.servers());
    let settings = builder.namespace(format!("claims-{namespace}")).settings();
    Cluster::new(settings.unwrap())
}

async fn join(cluster: &Arc<Cluster>, name: &str) -> Claims {
    join_with(cluster, name, LEASE, KEPT).await
}

async fn join_with(cluster: &Arc<Cluster>, name: &str, lease: Duration, kept: Duration) -> Claims {
    let subscription = Subscription::new(topic(), "handlers", name)
        .with_lease(lease)
        .with_deduplication(kept);
    Claims::open(cluster, &subscription).await.unwrap()
}

fn keys(keys: &[&str]) -> Vec<Arc<str>> {
    keys.iter().map(|key| Arc::from(*key)).collect()
}

async fn claim(member: &Claims, key: &str) -> Claim {
    member.claim(&keys(&[key])).await.unwrap()[0]
}

#[tokio::test]
async fn a_new_member_knows_earlier_claims_and_confirmations() {
    let kafka = Kafka::common();
    let cluster = connect(kafka, "later");
    let one = join(&cluster, "one").await;
    let (granted, held, done) = (Claim::Granted, Claim::Held, Claim::Done);
    let claims = one.claim(&keys(&["a", "b", "a", ""])).await.unwrap();
    assert_eq!(claims, [granted, granted, held, granted]);
    one.confirm(keys(&["a"])).await.unwrap();
    one.release(keys(&["", "not claimed"])).await.unwrap();

    let two = join(&cluster, "two").await;
    let claims = two.claim(&keys(&["a", "b", ""])).await.unwrap();
    assert_eq!(claims, [done, held, granted]);
    one.close().await.unwrap();
    assert_eq!(claim(&two, "b").await, granted, "member one has left");
    assert!(
        one.claim(&keys(&["c"])).await.is_err(),
        "member one has left"
    );
}

/// Ten thousand keys do not fit into one record.
#[tokio::test]
async fn many_long_keys_are_claimed_in_one_call() {
    let kafka = Kafka::common();
    let cluster = connect(kafka, "long");
    let one = join(&cluster, "one").await;
    let all: Vec<Arc<str>> = (0..10_000).map(|n| format!("{n:0200}").into()).collect();
    let claims = one.claim(&all).await.unwrap();
    assert_eq!(claims, vec![Claim::Granted; all.len()]);
    one.renew(all.clone()).await.unwrap();
    one.confirm(all.clone()).await.unwrap();
    let two = join(&cluster, "two").await;
    let claims = two.claim(&all).await.unwrap();
    assert_eq!(claims, vec![Claim::Done; all.len()]);
}

#[tokio::test]
async fn claims_of_a_dropped_call_are_released() {
    let kafka = Kafka::common();
    let cluster = connect(kafka, "dropped");
    let (one, two) = (join(&cluster, "one").await, join(&cluster, "two").await);
    for n in 0..20 {
        let key = format!("key {n}");
        let wanted = keys(&[&key]);
        let call = one.claim(&wanted);
        // The call is dropped before or just after its response.
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_micros(n * 300)) => {}
            claims = call => {
                assert_eq!(claims.unwrap(), [Claim::Granted]);
                one.release(wanted).await.unwrap();
            }
        }
        assert_eq!(claim(&two, &key).await, Claim::Granted, "{key}");
    }
}

#[tokio::test]
async fn invalid_entries_are_skipped() {
    let kafka = Kafka::common();
    let cluster = connect(kafka, "foreign");
    let one = join(&cluster, "one").await;
    assert_eq!(claim(&one, "a").await, Claim::Granted);
    let producer: BaseProducer = cluster.settings().producer(BATCH_BYTES).create().unwrap();
    let name = one.0.as_ref().unwrap().log.name();
    for text in ["", "{}", "not JSON", r#"{"steal":{"keys":["a"]}}"#] {
        let record = BaseRecord::<(), _>::to(name).payload(text);
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    assert_eq!(claim(&one, "a").await, Claim::Held);
    assert_eq!(claim(&join(&cluster, "two").await, "a").await, Claim::Held);
}

#[tokio::test]
async fn a_longer_deduplication_raises_the_retention() {
    let kafka = Kafka::common();
    let cluster = connect(kafka, "longer");
    let one = join(&cluster, "one").await;
    let name = one.0.as_ref().unwrap().log.name().clone();
    let admin = cluster.topics().admin().await.unwrap();
    let (topic, options) = (ResourceSpecifier::Topic(&name), AdminOptions::new());
    let kept = async || {
        let found = admin.describe_configs([&topic], &options).await.unwrap();
        let entries = found.into_iter().next().unwrap().unwrap();
        let value = |name| entries.get(name).unwrap().value.clone().unwrap();
        let kept: u64 = value("retention.ms").parse().unwrap();
        (
            kept,
            value("message.timestamp.type"),
            value("max.message.bytes"),
        )
    };
    let (short, times, _) = kept().await;
    assert_eq!(times, "LogAppendTime");
    assert!(short > millis(LEASE) + millis(KEPT), "{short} ms");
    // Other settings of the topic are kept.
    let change =
        AlterConfig::new(ResourceSpecifier::Topic(&name)).set("max.message.bytes", "999999");
    let changed = admin.alter_configs([&change], &options).await.unwrap();
    changed.into_iter().next().unwrap().unwrap();
    // The server learns it from the controller.
    let begin = Instant::now();
    while kept().await.2 != "999999" {
        assert!(begin.elapsed() < Duration::from_secs(60));
    }

    let day = Duration::from_secs(24 * 3600);
    join_with(&cluster, "two", LEASE, day).await;
    let begin = Instant::now();
    while kept().await.0 <= millis(day) {
        assert!(begin.elapsed() < Duration::from_secs(60));
    }
    let (_, times, bytes) = kept().await;
    assert_eq!((&*times, &*bytes), ("LogAppendTime", "999999"));
}

/// The broker is killed and started again while a member claims one key after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_and_confirmations_outlive_a_restart_of_the_broker() {
    let mut kafka = Kafka::with(KafkaOptions::default());
    let cluster = connect(&kafka, "restart");
    let (one, two) = (join(&cluster, "one").await, join(&cluster, "two").await);
    let one = Arc::new(one);
    let working = tokio::spawn({
        let one = one.clone();
        async move {
            let (mut granted, mut confirmed) = (Vec::new(), Vec::new());
            for n in 0..200 {
                let key: Arc<str> = format!("key {n}").into();
                match one.claim(std::slice::from_ref(&key)).await {
                    Ok(claims) if claims == [Claim::Granted] => {}
                    // The claim is released, or lost with the broker.
                    _ => continue,
                }
                match n % 2 {
                    0 => granted.push(key),
                    _ if one.confirm(vec![key.clone()]).await.is_ok() => confirmed.push(key),
                    _ => {}
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (granted, confirmed)
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    kafka.restart();
    let (granted, confirmed) = working.await.unwrap();
    assert!(
        granted.len() > 20 && confirmed.len() > 20,
        "too few: {} and {}",
        granted.len(),
        confirmed.len()
    );
    one.renew(granted.clone()).await.unwrap();
    let claims = two.claim(&granted).await.unwrap();
    assert_eq!(claims, vec![Claim::Held; granted.len()]);
    let claims = two.claim(&confirmed).await.unwrap();
    assert_eq!(claims, vec![Claim::Done; confirmed.len()]);
    let late = join(&cluster, "late").await;
    assert_eq!(late.claim(&confirmed).await.unwrap(), claims);
}

#[tokio::test]
async fn a_reader_that_stands_still_is_replaced() {
    let builder = KafkaTransportBuilder::new(Kafka::common().servers());
    let builder = builder.namespace("claims-still");
    let settings = builder.deadline(Duration::from_secs(2)).settings();
    let cluster = Cluster::new(settings.unwrap());
    let subscription = Subscription::new(topic(), "handlers", "one").with_lease(LEASE);
    let end = Instant::now() + Duration::from_secs(180);
    let inner = loop {
        match Inner::open(&cluster, &subscription, KEPT).await {
            Ok(inner) => break inner,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    };
    // It reads no partition.
    let client = cluster.settings().consumer("still").create().unwrap();
    let one = inner.clone();
    std::thread::spawn(move || reader::read(&one, client));
    let claims = Claims(Some(inner));
    let error = claims.claim(&keys(&["a"])).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
    // The claims that fail are released.
    loop {
        let claimed = claims.claim(&keys(&["a"])).await;
        if matches!(&claimed, Ok(claims) if **claims == [Claim::Granted]) {
            break;
        }
        assert!(Instant::now() < end, "{claimed:?}");
    }
}
