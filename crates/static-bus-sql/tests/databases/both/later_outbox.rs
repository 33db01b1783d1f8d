//! Messages that are due later and wait in the outbox, for brokers that keep none.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};
use static_bus::prelude::*;
use static_bus_kafka::KafkaTransport;
use static_bus_redis::RedisTransport;
use static_bus_remote::{
    Later, RemoteBus, SendLater, Transport, Worker,
    transport::{Consumer as _, Due, Inspect, Record, Transactional as _},
};
use static_bus_sql::transaction;
use test_brokers::{kafka::Kafka, redis::Redis};

use super::{
    Database, connect, home,
    inbox::eventually,
    outbox::Shop,
    support::{LONG, acknowledge, append, bodies, command, join, keyed, record},
};

#[derive(Serialize, Deserialize)]
struct Expire {
    order: u32,
}
command!(Expire, name = "orders.expire", key = order);

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

fn due(record: Record, due: impl Into<Due>) -> Record {
    Record {
        due: Some(due.into()),
        ..record
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_due_later_is_a_row_until_the_relay_moves_it_to_a_broker_that_keeps_none()
{
    let shop = Shop::new().await;
    let topic = command("orders.expire");
    shop.broker.check_scheduling().unwrap_err();
    let member = join(&shop.broker, &topic, "member").await;
    let relay = shop.relay().await;
    let begun = Instant::now();
    let key = |delay, key: &str| Due::after(delay).with_key(key);
    let records = [
        due(record("soon"), key(SECOND, "soon")),
        record("now"),
        due(record("never"), key(HOUR, "cancelled")),
        due(record("old"), key(HOUR, "replaced")),
        due(record("new"), key(SECOND * 2, "replaced")),
        due(record("far"), HOUR),
    ];
    append(&shop.outbox, &topic, records).await.unwrap();
    assert!(shop.outbox.cancel(&topic, "cancelled").await.unwrap());
    assert!(!shop.outbox.cancel(&topic, "cancelled").await.unwrap());
    let mut came = BTreeMap::new();
    while came.len() < 3 {
        let got = member.receive(1, LONG).await.unwrap();
        acknowledge(&member, &got).await.unwrap();
        came.extend(bodies(&got).into_iter().map(|body| (body, begun.elapsed())));
    }
    assert!(came.keys().eq(["new", "now", "soon"]), "{came:?}");
    assert!(came["soon"] >= SECOND, "{came:?}");
    assert!(came["new"] >= SECOND * 2, "{came:?}");
    eventually("one is left", async || {
        let health = relay.health().await;
        (health.lag, health.scheduled) == (0, 1)
    })
    .await;
    assert!(!shop.outbox.cancel(&topic, "soon").await.unwrap());
    relay.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_has_what_it_sends_later_and_cancels_in_the_outbox() {
    let shop = Shop::new().await;
    let topic = command("orders.expire");
    let key = |key: &str| Due::after(HOUR).with_key(key);
    let scheduled = async || {
        let relay = shop.relay().await;
        let scheduled = relay.health().await.scheduled;
        relay.shutdown().await.unwrap();
        scheduled
    };
    shop.commit(&topic, [due(record(1), key("1")), due(record(2), key("2"))])
        .await;
    assert_eq!(scheduled().await, 2);
    for (commits, expected) in [(false, 2), (true, 1)] {
        let mut transaction = shop.entries.begin().await;
        let cancelled = shop.outbox.cancel_within(&mut transaction, &topic, "1");
        assert!(cancelled.await.unwrap());
        match commits {
            true => transaction.commit().await.unwrap(),
            false => transaction.rollback().await.unwrap(),
        }
        assert_eq!(scheduled().await, expected);
    }

    let remote = RemoteBus::connect(shop.outbox.clone()).await.unwrap();
    let later = &remote.scheduler().unwrap();
    let handle = async |result: Result<(), ()>| {
        let handler = async {
            drop(transaction::<Database>().await.unwrap());
            later.cancel_command::<Expire>("2").await.unwrap();
            for order in [3, 4] {
                let due = key(&order.to_string());
                later.execute_at(Expire { order }, due).await.unwrap();
            }
            later.cancel_command::<Expire>("4").await.unwrap();
            result
        };
        shop.outbox.transact(handler).await.unwrap()
    };
    handle(Err(())).await.unwrap_err();
    assert!(!shop.outbox.cancel(&topic, "3").await.unwrap());
    handle(Ok(())).await.unwrap();
    assert_eq!(scheduled().await, 1);
    assert!(shop.outbox.cancel(&topic, "3").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_a_key_keep_their_order_when_they_are_due_though_two_relays_move_them() {
    let shop = Shop::new().await;
    let topic = command("orders.expire");
    let time = SystemTime::now() + SECOND;
    let keys = |n: usize| format!("key {}", n % 3);
    let records = (0..1500).map(|n| due(keyed(&keys(n), n), time));
    append(&shop.outbox, &topic, records).await.unwrap();
    // Nothing is taken over from a relay that is slow.
    let relay = async || shop.outbox.relay().lease(LONG).start().await.unwrap();
    let relays = (relay().await, relay().await);
    let member = join(&shop.broker, &topic, "member").await;
    let mut came = vec![Vec::new(); 3];
    while came.iter().map(Vec::len).sum::<usize>() < 1500 {
        let got = member.receive(1000, LONG).await.unwrap();
        assert!(!got.is_empty());
        acknowledge(&member, &got).await.unwrap();
        for number in bodies(&got) {
            let number: usize = number.parse().unwrap();
            came[number % 3].push(number);
        }
    }
    for numbers in came {
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert_eq!(numbers.len(), 500);
    }
    relays.0.shutdown().await.unwrap();
    relays.1.shutdown().await.unwrap();
}

async fn a_timeout_of_a_module_outlives_its_process(broker: impl Inspect) {
    let (_home, told) = home();
    let outbox = connect(&told).await.outbox(broker.clone());
    let remote = RemoteBus::connect(outbox.clone()).await.unwrap();
    let bus = BusBuilder::new()
        .register_command_async::<Later<Expire>, _>(remote.scheduler().unwrap())
        .build();
    let begun = Instant::now();
    for (order, delay) in [(1, SECOND), (2, HOUR), (3, SECOND)] {
        let due = Due::after(delay).with_key(order.to_string());
        bus.execute_at(Expire { order }, due).await.unwrap();
    }
    bus.cancel_command::<Expire>("2").await.unwrap();
    let topics = [command("orders.expire")];
    assert_eq!(outbox.topics().await.unwrap(), topics);
    let state = outbox.inspect(&topics).await.unwrap().remove(0);
    assert_eq!(state.scheduled, 2);
    assert!(state.next_due.is_some_and(|next| next <= SECOND));
    drop((bus, remote, outbox));

    let outbox = connect(&told).await.outbox(broker);
    let log = Arc::new(Mutex::new(Vec::new()));
    let expired = log.clone();
    let bus = BusBuilder::new()
        .register_command_fn(move |Expire { order }: Expire| {
            expired.lock().unwrap().push((order, begun.elapsed()))
        })
        .build();
    let worker = Worker::new(outbox.clone(), bus).command::<Expire>();
    let worker = worker.start().await.unwrap();
    let relay = outbox.relay().start().await.unwrap();
    eventually("two have expired", async || log.lock().unwrap().len() == 2).await;
    worker.shutdown(LONG).await;
    relay.shutdown().await.unwrap();
    let mut log = std::mem::take(&mut *log.lock().unwrap());
    log.sort();
    let orders: Vec<_> = log.iter().map(|(order, _)| *order).collect();
    assert_eq!(orders, [1, 3]);
    assert!(log.iter().all(|(_, late)| *late >= SECOND), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_of_a_module_waits_in_the_outbox_of_redis_and_outlives_its_process() {
    let redis = Redis::start();
    let broker = RedisTransport::builder(redis.url()).deadline(LONG);
    let broker = broker.connect().await.unwrap();
    a_timeout_of_a_module_outlives_its_process(broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_of_a_module_waits_in_the_outbox_of_kafka_and_outlives_its_process() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let broker = KafkaTransport::builder(kafka.servers()).deadline(LONG);
    let broker = broker.connect().await.unwrap();
    broker.check_scheduling().unwrap_err();
    a_timeout_of_a_module_outlives_its_process(broker).await;
}
