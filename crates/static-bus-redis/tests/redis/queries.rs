//! Queries and replies: the elements of lists, and their removal.

use std::time::{Duration, Instant};

use static_bus_redis::RedisTransport;
use static_bus_remote::{
    Transport, TransportErrorKind,
    transport::{Consumer, Kind, Receiver, Record, Topic, TransportError},
};

use crate::support::*;
use test_brokers::{redis::Redis, tunnel::Tunnel};

fn expiring(body: &str, expires: Duration) -> Record {
    Record {
        expires: Some(expires),
        ..record(body)
    }
}

#[tokio::test]
async fn replies_expire_after_a_minute_and_queries_after_their_deadline() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    append(&transport, &topic(Kind::Reply, "gone"), [record("1")]).await;
    let life = integer(&redis.command(&["PTTL", "static-bus:{reply:gone}"]));
    assert!((1..=60_000).contains(&life), "{life}");
    let query = topic(Kind::Query, "q");
    let _receiver = transport.listen(query.clone()).await.unwrap();
    append(
        &transport,
        &query,
        [expiring("1", Duration::from_secs(600))],
    )
    .await;
    append(&transport, &query, [expiring("2", Duration::from_secs(1))]).await;
    let life = integer(&redis.command(&["PTTL", "static-bus:{query:q}"]));
    assert!((500_000..=600_000).contains(&life), "{life}");
}

#[tokio::test]
async fn expired_queries_do_not_accumulate() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Query, "q");
    let _receiver = transport.listen(topic.clone()).await.unwrap();
    for _ in 0..100 {
        let records = (0..100).map(|_| expiring("x", Duration::from_millis(1)));
        append(&transport, &topic, records).await;
    }
    let length = integer(&redis.command(&["LLEN", "static-bus:{query:q}"]));
    assert!(length < 3000, "{length}");
}

#[tokio::test]
async fn a_read_that_outlives_its_call_loses_nothing() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Reply, "r");
    let receiver = transport.listen(topic.clone()).await.unwrap();
    let mut seen = Vec::new();
    for n in 0..50 {
        let dropped = receiver.receive(10, Duration::from_secs(2));
        let dropped = tokio::time::timeout(Duration::from_millis(3), dropped).await;
        assert!(dropped.is_err());
        append(&transport, &topic, [record(n.to_string())]).await;
        seen.extend(listen(&receiver, 1).await);
    }
    let expected: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn replies_of_one_call_are_one_element_and_are_returned_in_parts() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Reply, "r");
    let bodies: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    append(&transport, &topic, bodies.iter().map(record)).await;
    let length = || integer(&redis.command(&["LLEN", "static-bus:{reply:r}"]));
    assert_eq!(length(), 1);
    let receiver = transport.listen(topic.clone()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let part = receiver.receive(30, LONG).await.unwrap();
        assert_eq!(part.len(), 30);
        seen.extend(part);
    }
    receiver.close().await.unwrap();
    assert_eq!(length(), 10, "what was not returned is put back");
    let receiver = transport.listen(topic).await.unwrap();
    let mut seen = texts(&seen);
    seen.extend(listen(&receiver, 10).await);
    assert_eq!(seen, bodies);
}

#[tokio::test]
async fn queries_of_one_call_may_go_to_different_receivers() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Query, "q");
    let one = transport.listen(topic.clone()).await.unwrap();
    let two = transport.listen(topic.clone()).await.unwrap();
    append(&transport, &topic, ["1", "2"].map(record)).await;
    for receiver in [&one, &two] {
        assert_eq!(receiver.receive(1, LONG).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn closing_puts_back_elements_that_were_not_returned() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Query, "q");
    let receiver = transport.listen(topic.clone()).await.unwrap();
    let dropped = receiver.receive(10, Duration::from_secs(2));
    let dropped = tokio::time::timeout(Duration::from_millis(20), dropped).await;
    assert!(dropped.is_err());
    append(&transport, &topic, (0..5).map(|n| record(n.to_string()))).await;
    receiver.close().await.unwrap();
    assert!(receiver.receive(1, Duration::ZERO).await.is_err());
    let other = transport.listen(topic).await.unwrap();
    assert_eq!(listen(&other, 5).await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn closing_ends_a_read_that_waits() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let consumer = subscription(command("c"), "a");
    let consumer = transport.consume(consumer).await.unwrap();
    let receiver = transport.listen(topic(Kind::Query, "q")).await.unwrap();
    let soon = tokio::time::sleep(Duration::from_millis(50));
    let (records, queries, closed) = tokio::join!(
        consumer.receive(10, LONG),
        receiver.receive(10, LONG),
        async {
            soon.await;
            let both = async { tokio::join!(consumer.close(), receiver.close()) };
            tokio::time::timeout(LONG / 2, both).await
        }
    );
    let (records, queries) = (records.unwrap_err(), queries.unwrap_err());
    assert!(records.to_string().contains("this consumer is closed"));
    assert!(queries.to_string().contains("this receiver is closed"));
    let (consumer, receiver) = closed.unwrap();
    consumer.unwrap();
    receiver.unwrap();
}

#[tokio::test]
async fn queries_are_accepted_when_the_server_has_lost_the_presence_of_their_receivers() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Query, "q");
    let receiver = transport.listen(topic.clone()).await.unwrap();
    let sender = connect(&redis).await;
    append(&sender, &topic, [record("0")]).await;
    assert_eq!(listen(&receiver, 1).await, ["0"]);
    for n in 1..=20 {
        redis.command(&["FLUSHALL"]);
        append(&sender, &topic, [record(n.to_string())]).await;
        assert_eq!(listen(&receiver, 1).await, [n.to_string()]);
    }
    // A process that has sent nothing before waits until the receiver has announced itself again.
    redis.command(&["FLUSHALL"]);
    let other = connect(&redis).await;
    eventually("it is accepted", async || {
        let query = vec![(topic.clone(), record("other"))];
        other.append(query).await.remove(0).is_ok()
    })
    .await;
    assert_eq!(listen(&receiver, 1).await, ["other"]);
}

/// Sends a query until the server answers.
async fn send_over_outage(
    transport: &RedisTransport,
    query: &Topic,
    body: &str,
) -> Result<(), TransportError> {
    let end = Instant::now() + LONG;
    loop {
        let records = vec![(query.clone(), record(body))];
        match transport.append(records).await.remove(0) {
            Err(e) if e.kind() == TransportErrorKind::Unreachable && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result,
        }
    }
}

#[tokio::test]
async fn queries_are_accepted_after_an_outage_that_was_longer_than_the_grace_time() {
    let grace = Duration::from_secs(1);
    let mut redis = Redis::start();
    let tunnel = Tunnel::to(redis.port());
    let url = format!("redis://{}", tunnel.host_and_port());
    let there = RedisTransport::builder(url).receiver_grace(grace);
    let there = there.connect().await.unwrap();
    let query = topic(Kind::Query, "q");
    let receiver = there.listen(query.clone()).await.unwrap();
    let here = RedisTransport::builder(redis.url()).deadline(LONG / 2);
    let here = here.connect().await.unwrap();
    append(&here, &query, [record("before")]).await;
    assert_eq!(listen(&receiver, 1).await, ["before"]);
    redis.kill();
    tunnel.lead_to(1);
    tokio::time::sleep(grace * 2).await;
    redis.launch();
    // The sender has connected again, and the receiver has not.
    send_over_outage(&here, &query, "after").await.unwrap();
    append(&here, &query, [record("and again")]).await;
    tunnel.lead_to(redis.port());
    let got = listen_over_errors(&receiver, 2).await;
    assert_eq!(got, ["after", "and again"]);
}

#[tokio::test]
async fn queries_without_a_receiver_are_refused_again_some_seconds_after_an_outage() {
    let mut redis = Redis::start();
    let builder = RedisTransport::builder(redis.url()).deadline(Duration::from_secs(1));
    let transport = builder.connect().await.unwrap();
    let lonely = topic(Kind::Query, "lonely");
    let refused = send_over_outage(&transport, &lonely, "1").await;
    assert_eq!(refused.unwrap_err().kind(), TransportErrorKind::NoReceiver);
    redis.restart();
    send_over_outage(&transport, &lonely, "2").await.unwrap();
    eventually("it is refused", async || {
        let sent = send_over_outage(&transport, &lonely, "3").await;
        sent.is_err_and(|e| e.kind() == TransportErrorKind::NoReceiver)
    })
    .await;
}

#[tokio::test]
async fn receivers_announce_themselves_at_once_on_a_new_connection() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let _receiver = transport.listen(topic(Kind::Query, "q")).await.unwrap();
    let begun = Instant::now();
    for _ in 0..40 {
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        redis.command(&["FLUSHALL"]);
        eventually("it is connected", async || transport.check().await.is_ok()).await;
        eventually("it is announced", async || {
            redis.command(&["EXISTS", "static-bus:{query:q}:receivers"]) == ":1\r\n"
        })
        .await;
    }
    // The next regular announcement is half a second away on average.
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_query_costs_no_script_where_receivers_are_known_and_its_refusal_leaves_no_key() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let (served, lonely) = (topic(Kind::Query, "served"), topic(Kind::Query, "lonely"));
    let _receiver = transport.listen(served.clone()).await.unwrap();
    redis.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..10 {
        append(&transport, &served, (0..900).map(|n| record(n.to_string()))).await;
        let refused = transport.append(vec![(lonely.clone(), record("1"))]);
        let refused = refused.await.remove(0);
        assert_eq!(refused.unwrap_err().kind(), TransportErrorKind::NoReceiver);
    }
    append(&transport, &topic(Kind::Reply, "r"), [record("1")]).await;
    let calls = calls(&redis);
    let evals = calls.iter().find(|(name, _)| name == "eval").unwrap().1;
    assert_eq!(
        evals,
        1 + 10,
        "the first query, and those that are refused: {calls:?}"
    );
    let keys = redis.command(&["KEYS", "*lonely*"]);
    assert_eq!(keys, "*0\r\n");
}

#[tokio::test]
async fn ten_thousand_queries_of_one_call_are_received_in_their_order() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Query, "q");
    let receiver = transport.listen(topic.clone()).await.unwrap();
    append(
        &transport,
        &topic,
        (0..10_000).map(|n| record(n.to_string())),
    )
    .await;
    let received = listen(&receiver, 10_000).await;
    assert!(received.into_iter().eq((0..10_000).map(|n| n.to_string())));
}

#[tokio::test]
async fn replies_cost_the_same_with_one_process_and_with_five() {
    let one = commands_for_replies(1).await;
    let five = commands_for_replies(5).await;
    // On a slow machine the number of blocking reads differs.
    assert!(
        five <= one + 20,
        "{one} commands with one, {five} with five"
    );
}

/// The number of commands for 200 replies to one process, while other processes wait for theirs.
async fn commands_for_replies(processes: usize) -> u64 {
    let redis = Redis::start();
    let mut transports = Vec::<RedisTransport>::new();
    let mut receivers = Vec::new();
    for n in 0..processes {
        let transport = connect(&redis).await;
        let topic = topic(Kind::Reply, &format!("process-{n}"));
        receivers.push(transport.listen(topic).await.unwrap());
        transports.push(transport);
    }
    let first = receivers.remove(0);
    let others: Vec<_> = receivers
        .into_iter()
        .map(|r| tokio::spawn(async move { r.receive(10, LONG).await.map(drop) }))
        .collect();
    redis.command(&["CONFIG", "RESETSTAT"]);
    let topic = topic(Kind::Reply, "process-0");
    for n in 0..200 {
        append(&transports[processes - 1], &topic, [record(n.to_string())]).await;
        assert_eq!(listen(&first, 1).await, [n.to_string()]);
    }
    others.iter().for_each(|task| task.abort());
    calls(&redis)
        .into_iter()
        .filter(|(name, _)| !matches!(&**name, "config|resetstat" | "info"))
        .map(|(_, calls)| calls)
        .sum()
}
