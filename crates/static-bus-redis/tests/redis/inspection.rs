//! The state of topics and groups, for operators.

use std::time::{Duration, Instant};

use static_bus_redis::RedisTransport;
use static_bus_remote::{
    Transport,
    transport::{Consumer, Inspect, Kind, Receiver, Subscription, Topic, TopicState},
};
use test_brokers::redis::Redis;

use crate::support::{
    append, calls, command, connect, event, keyed, leases, receive, record, redis_at, subscription,
    topic,
};

async fn state(redis: &RedisTransport, topic: &Topic) -> TopicState {
    let topics = std::slice::from_ref(topic);
    redis.inspect(topics).await.unwrap().pop().unwrap()
}

#[tokio::test]
async fn every_topic_is_found() {
    let server = Redis::start();
    let redis = redis_at(server.url()).namespace("s*p");
    let redis = redis.connect().await.unwrap();
    assert_eq!(redis.topics().await.unwrap(), []);

    // A query is accepted for a time after the last receiver has closed.
    let users = topic(Kind::Query, "users.get");
    let receiver = redis.listen(users.clone()).await.unwrap();
    receiver.close().await.unwrap();
    append(&redis, &users, [record("1")]).await;
    append(&redis, &command("a.unkeyed"), [record("1")]).await;
    append(&redis, &command("b: keyed/0"), [keyed("k", "1")]).await;
    append(&redis, &topic(Kind::DeadLetter, ""), [record("1")]).await;
    let consumer = redis.consume(Subscription::new(event("c.consumed"), "mail", "m"));
    let _consumer = consumer.await.unwrap();
    // Keys of others: another namespace that the pattern of this one would match, and replies.
    let other = redis_at(server.url()).namespace("shop");
    append(
        &other.connect().await.unwrap(),
        &command("other"),
        [record("1")],
    )
    .await;
    append(&redis, &topic(Kind::Reply, "7"), [record("1")]).await;

    let topics = redis.topics().await.unwrap();
    let expected = [
        topic(Kind::Query, "users.get"),
        command("a.unkeyed"),
        command("b: keyed/0"),
        event("c.consumed"),
        topic(Kind::DeadLetter, ""),
    ];
    assert_eq!(topics, expected);
    let states = redis.inspect(&topics).await.unwrap();
    let sizes = states.iter().map(|s| (s.partitions, s.stored, s.appended));
    let expected = [
        (0, 1, None),
        (0, 1, Some(1)),
        (8, 1, Some(1)),
        (8, 0, Some(0)),
        (0, 1, Some(1)),
    ];
    assert_eq!(sizes.collect::<Vec<_>>(), expected);
    let missing = redis.inspect(&[command("missing")]).await.unwrap();
    assert_eq!(missing, []);
}

#[tokio::test]
async fn a_group_has_its_backlog_its_members_and_its_oldest_records() {
    let server = Redis::start();
    let redis = connect(&server).await;
    let orders = command("orders.place");
    let records = (0..20).map(|n| keyed(&n.to_string(), n.to_string()));
    append(&redis, &orders, records.chain([record("unkeyed")])).await;

    let consumer = redis.consume(subscription(orders.clone(), "orders-1"));
    let consumer = consumer.await.unwrap();
    let held = receive(&consumer, 21).await;
    append(&redis, &orders, [keyed("0", "next"), record("next")]).await;
    consumer.acknowledge(&leases(&held[3..])).await.unwrap();

    let state = state(&redis, &orders).await;
    let [group] = &state.groups[..] else {
        panic!("{state:?}");
    };
    assert_eq!((&*group.group, group.lag_is_exact), ("handlers", true));
    // The reader may have fetched further entries ahead.
    assert_eq!(group.backlog.pending + group.backlog.lag, 5);
    assert!(group.backlog.pending >= 3, "{group:?}");
    let [member] = &group.members[..] else {
        panic!("{group:?}");
    };
    let partitions = (0..8).collect();
    assert_eq!(
        (&*member.name, &member.partitions),
        ("orders-1", &partitions)
    );
    assert_eq!(group.oldest.len(), 5);
    assert!(
        group.oldest.is_sorted_by(|a, b| a.age >= b.age),
        "{group:?}"
    );
    assert_eq!(group.oldest[0].age, group.backlog.oldest);
    for (place, deliveries) in held[..3].iter().map(|d| (consumer.place(&d.receipt), 1)) {
        let record = group
            .oldest
            .iter()
            .find(|r| Some(&r.place) == place.as_ref());
        let record = record.unwrap_or_else(|| panic!("{place:?} in {group:?}"));
        assert_eq!(record.holder.as_deref(), Some("orders-1"));
        assert_eq!(record.deliveries, Some(deliveries));
    }
    consumer.close().await.unwrap();
    let state = self::state(&redis, &orders).await;
    let group = &state.groups[0];
    assert_eq!(
        (
            group.members.len(),
            group.backlog.pending + group.backlog.lag
        ),
        (0, 5)
    );
    let holders = group.oldest.iter().filter(|record| record.holder.is_some());
    assert_eq!(
        holders.count(),
        0,
        "released records have no holder: {group:?}"
    );
}

#[tokio::test]
async fn an_inspection_does_a_bounded_amount_of_work() {
    let server = Redis::start();
    let redis = connect(&server).await;
    let orders = command("orders.place");
    let consumer = redis
        .consume(subscription(orders.clone(), "m"))
        .await
        .unwrap();
    consumer.close().await.unwrap();
    for _ in 0..20 {
        append(&redis, &orders, (0..1000).map(|n| record(n.to_string()))).await;
    }
    let exact = &state(&redis, &orders).await.groups[0];
    assert_eq!((exact.backlog.lag, exact.lag_is_exact), (20_000, true));

    // Without an entry in the middle, the server does not know the lag.
    let entries = server.command(&[
        "XRANGE",
        "static-bus:{command:orders.place}",
        "-",
        "+",
        "COUNT",
        "2",
    ]);
    let id = entries.lines().filter(|line| line.contains('-')).nth(1);
    server.command(&["XDEL", "static-bus:{command:orders.place}", id.unwrap()]);
    server.command(&["CONFIG", "RESETSTAT"]);
    let begin = Instant::now();
    let counted = &state(&redis, &orders).await.groups[0];
    assert_eq!((counted.backlog.lag, counted.lag_is_exact), (1000, false));
    assert!(begin.elapsed() < Duration::from_secs(30));
    let reads = calls(&server)
        .into_iter()
        .filter(|(name, _)| name.starts_with("xr"));
    let reads: u64 = reads.map(|(_, calls)| calls).sum();
    assert!(reads < 30, "{reads} reads");
}

#[tokio::test]
async fn an_inspection_looks_at_a_bounded_number_of_bytes() {
    let server = Redis::start();
    let redis = connect(&server).await;
    let orders = command("orders.place");
    let consumer = redis.consume(subscription(orders.clone(), "m"));
    consumer.await.unwrap().close().await.unwrap();
    for size in [1, 100_000] {
        append(&redis, &orders, (0..200).map(|_| record("x".repeat(size)))).await;
    }
    let stream = "static-bus:{command:orders.place}";
    let entries = server.command(&["XRANGE", stream, "-", "+", "COUNT", "2"]);
    let id = entries.lines().filter(|line| line.contains('-')).nth(1);
    server.command(&["XDEL", stream, id.unwrap()]);
    // Of the last two hundred entries, ten fill a megabyte, and one page of them ten.
    let counted = &state(&redis, &orders).await.groups[0];
    assert!(!counted.lag_is_exact, "{counted:?}");
    assert!((199..320).contains(&counted.backlog.lag), "{counted:?}");
}
