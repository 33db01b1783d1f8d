//! Records that are due later.

use std::{collections::HashSet, time::Duration};

use static_bus_remote::{
    Transport,
    transport::{Due, Record},
};

use crate::support::*;
use test_brokers::redis::Redis;

const FAR: Duration = Duration::from_secs(3600);

fn due(record: Record, due: impl Into<Due>) -> Record {
    let due = Some(due.into());
    Record { due, ..record }
}

/// The keys of scheduled records.
fn keys(redis: &Redis) -> HashSet<String> {
    let keys = redis.command(&["KEYS", "static-bus:{*}:*"]);
    let of_scheduled = |key: &&str| key.ends_with(":due") || key.ends_with(":scheduled");
    keys.lines()
        .filter(of_scheduled)
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn scheduled_records_leave_no_keys_behind() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let consumer = transport.consume(subscription(topic.clone(), "a")).await;
    let consumer = consumer.unwrap();
    let with_key = |key: &str, delay| Due::after(delay).with_key(key);
    let soon = Duration::from_millis(100);
    let records = [
        due(record("1"), with_key("a", FAR)),
        due(record("2"), with_key("a", soon)),
        due(keyed("k", "3"), with_key("b", FAR)),
        due(keyed("k", "4"), soon),
    ];
    append(&transport, &topic, records).await;
    let expected = ["due", "scheduled"].map(|name| format!("static-bus:{{command:c}}:{name}"));
    assert_eq!(keys(&redis), HashSet::from(expected));
    assert!(transport.cancel(&topic, "b").await.unwrap());
    let mut came = bodies(&receive(&consumer, 2).await);
    came.sort();
    assert_eq!(came, ["2", "4"]);
    assert_eq!(keys(&redis), HashSet::new());
    assert!(!transport.cancel(&topic, "a").await.unwrap());
}

#[tokio::test]
async fn a_time_is_compared_with_the_clock_of_the_server() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    append(
        &transport,
        &topic,
        [due(record("1"), Duration::from_millis(1500))],
    )
    .await;
    let time = redis.command(&["TIME"]);
    let seconds = time.lines().find_map(|line| line.parse::<u64>().ok());
    let score = redis.command(&[
        "ZRANGE",
        "static-bus:{command:c}:due",
        "0",
        "0",
        "WITHSCORES",
    ]);
    let scores = score.lines().filter_map(|line| line.parse::<u64>().ok());
    let millis = scores.max().unwrap();
    let delay = millis - seconds.unwrap() * 1000;
    assert!((500..=2600).contains(&delay), "{delay} ms after {time}");
}

#[tokio::test]
async fn records_whose_contents_were_deleted_do_not_stop_the_others() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = event("e");
    let consumer = transport.consume(subscription(topic.clone(), "a")).await;
    let consumer = consumer.unwrap();
    let soon = Duration::from_secs(2);
    append(
        &transport,
        &topic,
        (0..3).map(|n| due(record(n.to_string()), soon)),
    )
    .await;
    redis.command(&["DEL", "static-bus:{event:e}:scheduled"]);
    append(&transport, &topic, [due(record("3"), soon)]).await;
    assert_eq!(bodies(&receive(&consumer, 1).await), ["3"]);
    assert_eq!(keys(&redis), HashSet::new());
}

#[tokio::test]
async fn a_scheduled_record_that_a_replica_has_survives_a_failover() {
    let (first, second) = (Redis::start(), Redis::start());
    second.command(&["REPLICAOF", "127.0.0.1", &first.port().to_string()]);
    let builder = redis_at(first.url()).replicas(1);
    let transport = builder.connect().await.unwrap();
    let topic = command("c");
    let records = || {
        vec![(
            topic.clone(),
            due(record("1"), Due::after(FAR / 3600).with_key("k")),
        )]
    };
    eventually("a replica confirms the record", async || {
        transport.append(records()).await.remove(0).is_ok()
    })
    .await;
    drop(first);
    second.command(&["REPLICAOF", "NO", "ONE"]);
    let transport = connect(&second).await;
    let consumer = transport.consume(subscription(topic.clone(), "a")).await;
    let received = receive(&consumer.unwrap(), 1).await;
    assert_eq!(bodies(&received), ["1"]);
}

#[tokio::test]
async fn a_dead_letter_that_is_due_later_is_refused() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let record = due(record("1"), FAR);
    let letter = vec![(static_bus_remote::DEAD_LETTERS, record)];
    let error = transport.append(letter).await.remove(0).unwrap_err();
    assert_eq!(
        error.reason(),
        "a record of dead-letter cannot be due later: only commands and events can, remove `due`"
    );
}
