//! `watch`.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::Value;
use static_bus_remote::{
    Transport,
    transport::{Kind, Subscription},
};
use test_brokers::redis::Redis;

use crate::support::{
    Tool, acknowledge, append, create_group, kafka, postgres, receive, record, redis, sqlite, topic,
};

async fn samples_show_rates<T: Transport>(tool: &Tool, broker: &T) {
    let orders = topic(Kind::Command, "orders.place");
    let consumer = broker
        .consume(Subscription::new(orders.clone(), "handlers", "m"))
        .await
        .unwrap();
    append(broker, orders.clone(), [record("0")]).await;
    acknowledge(&consumer, &receive(&consumer, 1).await).await;

    let arguments = ["watch", "--json", "--interval", "200ms"];
    let mut watch = tool.command(&arguments);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    // Far more than it takes.
    let samples = lines.take(600).map(|line| line.unwrap());
    let mut samples = samples.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let first = samples.next().unwrap();
    assert!(
        first["arriving_per_second"].is_null() && first["handled_per_second"].is_null(),
        "{first}"
    );
    assert_eq!(
        (&first["message"], &first["group"]),
        (&"orders.place".into(), &"handlers".into())
    );
    let records = (0..200).map(|n| record(n.to_string()));
    append(broker, orders.clone(), records).await;
    let rate = |sample: &Value, name: &str| sample[name].as_f64().unwrap();
    let mut with = |name: &str| {
        let found = samples.find(|sample| rate(sample, name) > 0.0);
        found.unwrap_or_else(|| panic!("no sample with {name}"))
    };
    let arrived = with("arriving_per_second");
    assert_eq!(arrived["members"], 1, "{arrived}");
    assert!(first["time"].as_str() < arrived["time"].as_str(), "{first}");
    acknowledge(&consumer, &receive(&consumer, 100).await).await;
    with("handled_per_second");
    let waiting = |sample: &Value| ["lag", "held"].map(|name| sample[name].as_u64().unwrap());
    let rest = samples.find(|sample| waiting(sample).iter().sum::<u64>() == 100);
    rest.expect("half of them wait");
    let idle =
        samples.find(|s| rate(s, "arriving_per_second") + rate(s, "handled_per_second") == 0.0);
    idle.expect("nothing moves any more");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_of_redis_show_rates() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    samples_show_rates(&tool, &broker).await;
    let out = tool.out(&["watch", "--interval", "100ms", "--count", "2"]);
    let pages: Vec<_> = out.split("\n\n").collect();
    assert_eq!(pages.len(), 3, "{out}");
    for (page, rates) in [(pages[0], ["–", "–"]), (pages[1], ["0/s", "0/s"])] {
        let lines: Vec<_> = page.lines().collect();
        let address = format!("{}, 20", broker.address());
        assert!(
            lines[0].starts_with(&address) && lines[0].ends_with(" UTC"),
            "{page}"
        );
        let head = "MESSAGE GROUP STATE LAG HELD OLDEST MEMBERS ARRIVING HANDLED";
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>().join(" "),
            head
        );
        let words: Vec<_> = lines[2].split_whitespace().collect();
        assert_eq!(words[words.len() - 2..], rates);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_of_kafka_show_rates() {
    let (tool, broker) = kafka("cli-watch").await;
    samples_show_rates(&tool, &broker).await;
}

/// A database does not count what is appended.
async fn samples_of_a_database_show_lags_without_rates<T: Transport>(tool: &Tool, broker: &T) {
    let orders = topic(Kind::Command, "orders.place");
    create_group(broker, orders.clone(), "handlers").await;
    append(broker, orders, [record("0"), record("1")]).await;
    let watch = ["watch", "--interval", "100ms", "--count", "2"];
    let samples = tool.json(&watch);
    assert_eq!(samples.len(), 2);
    for sample in samples {
        assert_eq!(
            (&sample["message"], &sample["lag"]),
            (&"orders.place".into(), &2.into())
        );
        assert!(
            sample["arriving_per_second"].is_null() && sample["handled_per_second"].is_null(),
            "{sample}"
        );
    }
    let out = tool.out(&watch);
    let last = out.lines().rfind(|line| !line.is_empty()).unwrap();
    let words: Vec<_> = last.split_whitespace().collect();
    assert_eq!(words[words.len() - 2..], ["–", "–"]);
}

#[tokio::test]
async fn samples_of_sqlite_show_lags_without_rates() {
    let (_directory, tool, broker) = sqlite().await;
    samples_of_a_database_show_lags_without_rates(&tool, &broker).await;
}

#[tokio::test]
async fn samples_of_postgres_show_lags_without_rates() {
    let (tool, broker) = postgres("cli_watch").await;
    samples_of_a_database_show_lags_without_rates(&tool, &broker).await;
}

#[tokio::test]
async fn a_broker_that_is_gone_is_reported_and_looked_for_again() {
    let mut server = Redis::start();
    let (tool, broker) = redis(&server).await;
    create_group(&broker, topic(Kind::Event, "orders.placed"), "mail").await;
    let arguments = ["watch", "--interval", "200ms", "--timeout", "300ms"];
    let mut watch = tool.command(&arguments);
    let watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let out = BufReader::new(watch.stdout.take().unwrap());
    let mut out = out.lines().map(Result::unwrap);
    let mut err = BufReader::new(watch.stderr.take().unwrap()).lines();
    assert!(out.any(|line| line.starts_with("event orders.placed  mail")));
    server.kill();
    let error = err.next().unwrap().unwrap();
    let address = format!("error: redis://{}: ", server.host_and_port());
    assert!(error.starts_with(&address), "{error}");
    // Without its data.
    server.launch();
    assert!(out.any(|line| line == "no groups"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}
