//! `watch`.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use static_bus_remote::{
    Transport,
    transport::{Kind, Subscription},
};
use test_brokers::redis::Redis;

use crate::support::{
    Tool, acknowledge, append, create_group, kafka, receive, record, redis, topic,
};

async fn samples_show_rates<T: Transport>(tool: &Tool, broker: &T) {
    let orders = topic(Kind::Command, "orders.place");
    let consumer = broker
        .consume(Subscription::new(orders.clone(), "handlers", "m"))
        .await
        .unwrap();
    append(broker, orders.clone(), [record("0")]).await;
    acknowledge(&consumer, &receive(&consumer, 1).await).await;

    let mut watch = tool.command(&["watch", "--json", "--interval", "500ms", "--count", "40"]);
    let watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    // The samples go on while records are sent and handled.
    append(
        broker,
        orders.clone(),
        (0..200).map(|n| record(n.to_string())),
    )
    .await;
    acknowledge(&consumer, &receive(&consumer, 100).await).await;
    let output = watch.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8(output.stdout).unwrap();
    let samples: Vec<serde_json::Value> = out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(samples.len(), 40);
    let first = &samples[0];
    assert!(
        first["arriving_per_second"].is_null() && first["handled_per_second"].is_null(),
        "{first}"
    );
    assert_eq!(
        (&first["message"], &first["group"]),
        (&"orders.place".into(), &"handlers".into())
    );
    let last = &samples[39];
    let number = |sample: &serde_json::Value, name: &str| sample[name].as_u64().unwrap();
    assert_eq!(number(last, "lag") + number(last, "held"), 100);
    assert!(
        samples.iter().any(|sample| number(sample, "members") == 1),
        "{out}"
    );
    assert!(
        samples[1..]
            .iter()
            .all(|s| s["arriving_per_second"].as_f64().unwrap() >= 0.0),
        "{out}"
    );
    assert!(samples[0]["time"].as_str() < last["time"].as_str(), "{out}");
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
