//! `topics` and `groups`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use static_bus::prelude::*;
use static_bus_remote::{
    RemoteBus, Transport, Worker,
    transport::{Consumer, Due, Kind, Receiver, Record, Subscription},
};
use test_brokers::redis::Redis;

use crate::support::{
    Tool, acknowledge, append, create_group, kafka, postgres, receive, record, redis, sqlite, topic,
};

/// Topics of each kind: a command that nothing has ever served, an event without a worker, and one without events.
async fn fill<T: Transport>(broker: &T) {
    let bodies = |count: usize| (0..count).map(|n| record(n.to_string()));
    // A query is accepted for a time after the last receiver has closed.
    let users = topic(Kind::Query, "users.get");
    let receiver = broker.listen(users.clone()).await.unwrap();
    receiver.close().await.unwrap();
    append(broker, users, bodies(1)).await;
    append(broker, topic(Kind::Command, "orders.place"), bodies(1200)).await;
    create_group(broker, topic(Kind::Event, "orders.placed"), "mail").await;
    append(broker, topic(Kind::Event, "orders.placed"), bodies(2)).await;
    create_group(broker, topic(Kind::Event, "a\x1b[2Jb"), "x\u{202e}y").await;
    append(broker, topic(Kind::DeadLetter, ""), bodies(3)).await;
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A record that is due later.
fn scheduled(days: u32) -> Record {
    let due = Some(Due::after(DAY * days));
    Record { due, ..record("") }
}

#[tokio::test]
async fn the_topics_of_redis_are_listed() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    assert_eq!(tool.out(&["topics"]), "no topics\n");
    assert_eq!(tool.out(&["topics", "--json"]), "");
    fill(&broker).await;
    let reminders = [7, 2].map(scheduled);
    append(&broker, topic(Kind::Command, "orders.remind"), reminders).await;
    assert_eq!(
        tool.out(&["topics"]),
        "\
KIND         MESSAGE        STORED          SCHEDULED  PARTITIONS  GROUPS
query        users.get           1                  0           –
command      orders.place    1,200                  0           –
command      orders.remind       0  2, next in 1d 23h           –
event        a\\u{1b}[2Jb         0                  0           8  x\\u{202e}y
event        orders.placed       2                  0           8  mail
dead-letter                      3                  0           –
"
    );
    let remind = tool.json(&["topics", "--message", "orders.remind"]);
    let seconds = remind[0]["next_due_seconds"].as_f64().unwrap();
    assert_eq!(remind[0]["scheduled"], 2);
    assert!(
        (1.9..=2.0).contains(&(seconds / DAY.as_secs_f64())),
        "{seconds}"
    );
    assert_eq!(
        tool.json(&["topics", "--message", "orders.placed"]),
        [json!({
            "kind": "event",
            "message": "orders.placed",
            "partitions": 8,
            "stored": 2,
            "appended": 2,
            "scheduled": 0,
            "next_due_seconds": null,
            "groups": ["mail"],
        })]
    );
    assert_eq!(
        tool.out(&["topics", "--message", "command orders.placed"]),
        "no topics\n"
    );
}

#[tokio::test]
async fn the_topics_of_kafka_are_listed() {
    let (tool, broker) = kafka("cli-topics").await;
    assert_eq!(tool.out(&["topics"]), "no topics\n");
    fill(&broker).await;
    assert_eq!(
        tool.out(&["topics"]),
        "\
KIND         MESSAGE        STORED  SCHEDULED  PARTITIONS  GROUPS
query        users.get           1          0           4  handlers
command      orders.place    1,200          0           4
event        a\\u{1b}[2Jb         0          0           4  x\\u{202e}y
event        orders.placed       2          0           4  mail
dead-letter                      3          0           1
"
    );
}

/// Topics of an engine without partitions, which counts no records.
async fn the_topics_of_a_database_are_listed<T: Transport>(tool: &Tool, broker: &T) {
    assert_eq!(tool.out(&["topics"]), "no topics\n");
    fill(broker).await;
    assert_eq!(
        tool.out(&["topics"]),
        "\
KIND         MESSAGE        STORED  SCHEDULED  PARTITIONS  GROUPS
query        users.get           1          0           –
command      orders.place    1,200          0           –
event        a\\u{1b}[2Jb         0          0           –  x\\u{202e}y
event        orders.placed       2          0           –  mail
dead-letter                      3          0           –
"
    );
    assert_eq!(
        tool.json(&["topics", "--message", "orders.placed"]),
        [json!({
            "kind": "event",
            "message": "orders.placed",
            "partitions": 0,
            "stored": 2,
            "appended": null,
            "scheduled": 0,
            "next_due_seconds": null,
            "groups": ["mail"],
        })]
    );
}

#[tokio::test]
async fn the_topics_of_sqlite_are_listed() {
    let (_directory, tool, broker) = sqlite().await;
    the_topics_of_a_database_are_listed(&tool, &broker).await;
}

#[tokio::test]
async fn the_topics_of_postgres_are_listed() {
    let (tool, broker) = postgres("cli_topics").await;
    the_topics_of_a_database_are_listed(&tool, &broker).await;
}

/// The words of each line but the first, without the ages.
fn rows(out: &str) -> Vec<String> {
    let mut lines = out.lines();
    let head = lines.next().unwrap();
    let words: Vec<_> = head.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "MESSAGE", "GROUP", "STATE", "LAG", "HELD", "OLDEST", "MEMBERS"
        ]
    );
    // The ends of the column before the ages and of that of the ages.
    let [from, to] = ["HELD", "OLDEST"].map(|name| head.find(name).unwrap() + name.len());
    let without_age = |line: &str| -> String {
        let chars: Vec<char> = line.chars().collect();
        let text: String = chars[..from.min(chars.len())]
            .iter()
            .chain(&chars[to.min(chars.len())..])
            .collect();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    lines.map(without_age).collect()
}

/// `receivers` is the group of the query, where the engine has one.
fn groups(tool: &Tool, receivers: Option<&str>) {
    let served = [
        "command orders.place – no worker 1,200 0 0",
        r"event a\u{1b}[2Jb x\u{202e}y idle 0 0 0",
        "event orders.placed mail no worker 2 0 0",
    ];
    let expected: Vec<_> = receivers.into_iter().chain(served).collect();
    assert_eq!(rows(&tool.out(&["groups"])), expected);
    let unserved = tool.json(&["groups", "--message", "orders.place"]);
    let expected = json!({
        "kind": "command",
        "message": "orders.place",
        "group": null,
        "state": "no-worker",
        "lag": 1200,
        "lag_exact": true,
        "held": 0,
        "oldest_seconds": null,
        "members": [],
        "oldest": [],
    });
    assert_eq!(unserved, [expected]);
    let mail = tool.json(&["groups", "--group", "mail"]);
    let [mail] = &mail[..] else {
        panic!("{mail:?}");
    };
    assert_eq!(
        (&mail["lag"], &mail["state"]),
        (&json!(2), &json!("no-worker"))
    );
    assert_eq!(mail["oldest"][0]["holder"], Value::Null);
    assert_eq!(mail["oldest"][0]["age_seconds"], mail["oldest_seconds"]);
    assert_eq!(tool.out(&["groups", "--group", "none"]), "no groups\n");
    assert_eq!(tool.out(&["groups", "--group", "none", "--json"]), "");
}

#[tokio::test]
async fn the_groups_of_redis_are_listed() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    fill(&broker).await;
    groups(&tool, None);
}

#[tokio::test]
async fn the_groups_of_kafka_are_listed() {
    let (tool, broker) = kafka("cli-groups").await;
    fill(&broker).await;
    groups(&tool, Some("query users.get handlers no worker 1 0 0"));
}

#[tokio::test]
async fn the_groups_of_sqlite_are_listed() {
    let (_directory, tool, broker) = sqlite().await;
    fill(&broker).await;
    groups(&tool, None);
}

#[tokio::test]
async fn the_groups_of_postgres_are_listed() {
    let (tool, broker) = postgres("cli_groups").await;
    fill(&broker).await;
    groups(&tool, None);
}

const LEFT_TO_ITS_LEASE: &str = "command orders.place handlers no worker 0 1 0";
const LEFT_TO_OTHERS: &str = "command orders.place handlers no worker 1 0 0";

/// A member keeps the first of some records. Returns the place of that record.
async fn hold<T: Transport>(broker: &T) -> (T::Consumer, String) {
    let orders = topic(Kind::Command, "orders.place");
    append(
        broker,
        orders.clone(),
        (0..3).map(|n| record(n.to_string())),
    )
    .await;
    let subscription = Subscription::new(orders, "handlers", "worker-1");
    let consumer = broker.consume(subscription).await.unwrap();
    let received = receive(&consumer, 3).await;
    acknowledge(&consumer, &received[1..]).await;
    let place = consumer.place(&received[0].receipt).unwrap();
    (consumer, place)
}

/// `left` is the group after its member has closed: engines keep its lease until it runs out, or end it.
async fn a_record_that_is_stuck_is_shown_with_its_holder<T: Transport>(
    tool: &Tool,
    broker: &T,
    left: &str,
) {
    let (consumer, place) = hold(broker).await;
    let busy = tool.out(&["groups", "--stuck-after", "1h"]);
    assert_eq!(rows(&busy), ["command orders.place handlers busy 0 1 1"]);

    let stuck = tool.out(&["groups", "--stuck-after", "0s"]);
    assert!(stuck.contains("  stuck  "), "{stuck}");
    let (_, lines) = stuck.split_once("\nstuck:\n").unwrap();
    let begin = format!("  command orders.place, handlers: {place}, sent ");
    assert!(lines.starts_with(&begin), "{lines}");
    assert!(
        lines.ends_with(" ago, is with worker-1, delivered once\n"),
        "{lines}"
    );
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let group = &tool.json(&["groups", "--stuck-after", "0s"])[0];
    assert_eq!(group["state"], "stuck");
    assert_eq!(group["members"][0]["name"], "worker-1");
    assert_eq!(group["oldest"][0]["place"], place);
    assert_eq!(group["oldest"][0]["deliveries"], 1);

    consumer.close().await.unwrap();
    let out = tool.out(&["groups", "--stuck-after", "0s"]);
    assert_eq!(rows(&out), [left]);
}

#[tokio::test]
async fn a_record_that_is_stuck_on_redis_is_shown_with_its_holder() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    a_record_that_is_stuck_is_shown_with_its_holder(&tool, &broker, LEFT_TO_ITS_LEASE).await;
}

#[tokio::test]
async fn a_record_that_is_stuck_on_sqlite_is_shown_with_its_holder() {
    let (_directory, tool, broker) = sqlite().await;
    a_record_that_is_stuck_is_shown_with_its_holder(&tool, &broker, LEFT_TO_OTHERS).await;
}

#[tokio::test]
async fn a_record_that_is_stuck_on_postgres_is_shown_with_its_holder() {
    let (tool, broker) = postgres("cli_stuck").await;
    a_record_that_is_stuck_is_shown_with_its_holder(&tool, &broker, LEFT_TO_OTHERS).await;
}

#[derive(Serialize, Deserialize)]
struct Place {
    order: u32,
}
command!(Place, name = "orders.place");

#[tokio::test]
async fn a_worker_that_is_stuck_is_named() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Place| {
            began.send(()).unwrap();
            std::future::pending::<Result<(), static_bus::asynchronous::BusError>>()
        })
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .service("orders")
        .command::<Place>();
    let worker = worker.start().await.unwrap();
    let remote = RemoteBus::connect(broker).await.unwrap();
    remote.execute_async(Place { order: 7 }).await.unwrap();
    begins.recv().await.unwrap();
    let groups = tool.json(&["groups"]);
    assert_eq!(groups[0]["members"][0]["name"], worker.member());
    assert_eq!(groups[0]["oldest"][0]["holder"], worker.member());
    assert!(
        worker.member().starts_with("orders-"),
        "{}",
        worker.member()
    );
}

#[tokio::test]
async fn a_record_that_is_stuck_on_kafka_is_shown_with_the_owner_of_its_partition() {
    let (tool, broker) = kafka("cli-stuck").await;
    let (consumer, place) = hold(&broker).await;
    let stuck = tool.out(&["groups", "--stuck-after", "0s"]);
    let (table, lines) = stuck.split_once("\nstuck:\n").unwrap();
    assert_eq!(rows(table), ["command orders.place handlers stuck 1 0 1"]);
    let begin = format!("  command orders.place, handlers: {place}, sent ");
    assert!(lines.starts_with(&begin), "{lines}");
    assert!(lines.contains(" ago, is with worker-1-"), "{lines}");
    assert!(lines.ends_with(" on 127.0.0.1\n"), "{lines}");
    let group = &tool.json(&["groups"])[0];
    assert_eq!(group["members"][0]["partitions"], json!([0, 1, 2, 3]));
    assert_eq!(group["oldest"][0]["deliveries"], Value::Null);
    consumer.close().await.unwrap();
}
