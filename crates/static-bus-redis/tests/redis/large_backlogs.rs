//! A million entries: no call stops the server for long.

use std::{sync::Arc, time::Duration};

use static_bus_remote::{
    DEAD_LETTERS, Transport,
    transport::{Consumer, Due, Inspect, Kind, Lease, Record},
};

use crate::support::*;
use test_brokers::redis::Redis;

const ENTRIES: u64 = 1_000_000;
/// In microseconds. The calls take up to ten milliseconds, and on a busy machine a multiple. A script that looks at each
/// entry takes more than two seconds.
const STOP: u64 = 1_000_000;

/// Appends small entries to a stream, on the server.
fn fill(redis: &Redis, stream: &str, entries: u64) {
    let script = "for n = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', 'h', 'type: test\\n', 'd', n) end";
    for _ in 0..entries / 50_000 {
        redis.command(&["EVAL", script, "1", stream, "50000"]);
    }
}

/// The slowest command since the log was reset, in microseconds, and its words.
fn slowest(redis: &Redis) -> (u64, String) {
    let log = redis.command(&["SLOWLOG", "GET", "1000"]);
    let entries = log.split("*6\r\n").skip(1).map(|entry| {
        let numbers = entry.lines().filter_map(|line| line.strip_prefix(':'));
        let time = numbers.filter_map(|n| n.parse().ok()).nth(2).unwrap_or(0);
        (time, entry.replace("\r\n", " ").chars().take(200).collect())
    });
    entries.max().unwrap_or_default()
}

#[tokio::test]
async fn no_call_stops_the_server_for_long_with_a_million_entries() {
    let redis = Redis::start();
    let stream = "static-bus:{command:c}";
    fill(&redis, stream, ENTRIES);
    fill(&redis, "static-bus:dead-letter", 200_000);
    let transport = connect(&redis).await;
    let topic = command("c");
    redis.command(&["XGROUP", "CREATE", stream, "handlers", "0"]);
    // A member that is gone had a tenth, and the server has no lag after the deletion.
    let read = "return #redis.call('XREADGROUP', 'GROUP', 'handlers', 'gone', 'COUNT', 100000, 'STREAMS', KEYS[1], '>')";
    redis.command(&["EVAL", read, "1", stream]);
    let last = redis.command(&["XREVRANGE", stream, "+", "-", "COUNT", "9"]);
    let id = last
        .lines()
        .filter(|line| line.contains('-'))
        .nth(5)
        .unwrap();
    redis.command(&["XDEL", stream, id]);
    redis.command(&["CONFIG", "SET", "slowlog-max-len", "1000"]);
    redis.command(&["CONFIG", "SET", "slowlog-log-slower-than", "5000"]);
    redis.command(&["SLOWLOG", "RESET"]);

    let mut member = short(topic.clone(), "a");
    member.lease = Duration::from_secs(5);
    let consumer = transport.consume(member).await.unwrap();
    let backlog = consumer.backlog().await.unwrap();
    assert_eq!(backlog.pending, 100_000);
    assert!(backlog.lag >= ENTRIES - 100_001, "{backlog:?}");
    append(&transport, &topic, (0..500).map(|n| record(n.to_string()))).await;
    let queries = crate::support::topic(Kind::Query, "q");
    let _receiver = transport.listen(queries.clone()).await.unwrap();
    let query = (0..2000).map(|n| record(n.to_string()));
    append(&transport, &queries, query).await;
    let held = receive(&consumer, 20_000).await;
    let keys: Vec<Arc<str>> = (0..held.len()).map(|n| format!("key {n}").into()).collect();
    for keys in keys.chunks(512) {
        consumer.claim(keys).await.unwrap();
    }
    let held: Vec<_> = std::iter::zip(&held, keys)
        .map(|(delivery, key)| Lease {
            receipt: delivery.receipt,
            claim: Some(key),
        })
        .collect();
    consumer.renew(&held).await.unwrap();
    consumer.acknowledge(&held[..10_000]).await.unwrap();
    consumer.release(&held[10_000..15_000]).await.unwrap();
    let letters = transport.dead_letters(None, 5000).await.unwrap();
    assert!(letters.len() >= 500, "{}", letters.len());
    append(&transport, &DEAD_LETTERS, [record("1")]).await;
    let topics = transport.topics().await.unwrap();
    assert!(topics.contains(&topic), "{topics:?}");
    let states = transport.inspect(&topics).await.unwrap();
    assert!(states.iter().any(|state| state.stored >= ENTRIES - 10_000));
    consumer.backlog().await.unwrap();
    consumer.close().await.unwrap();
    let closed = slowest(&redis);
    assert!(closed.0 < STOP, "{closed:?}");

    // All is done, and removed.
    redis.command(&["XGROUP", "DELCONSUMER", stream, "handlers", "gone"]);
    redis.command(&["XGROUP", "DELCONSUMER", stream, "handlers", "(released)"]);
    redis.command(&["XGROUP", "SETID", stream, "handlers", "$"]);
    redis.command(&["SLOWLOG", "RESET"]);
    let _consumer = transport.consume(subscription(topic, "b")).await.unwrap();
    eventually("all is removed", async || {
        integer(&redis.command(&["XLEN", stream])) < 200
    })
    .await;
    let removed = slowest(&redis);
    assert!(removed.0 < STOP, "{removed:?}");
}

/// Schedules small records on the server, in the format of the engine: the first `due` of them for now.
fn schedule(redis: &Redis, topic: &str, entries: u64, due: u64) {
    let script = "\
        local millis = redis.call('TIME')[1] * 1000 \
        for n = tonumber(ARGV[1]), ARGV[1] + ARGV[3] - 1 do \
          local id = string.format('%016.0f', n) \
          local time = n < tonumber(ARGV[2]) and millis or millis + 36000000 + n \
          redis.call('ZADD', KEYS[1], time, id) \
          redis.call('HSET', KEYS[2], id, cmsgpack.pack({0, false, {'r', 'type: test\\n\\n' .. n}})) \
        end \
        redis.call('HSET', KEYS[2], 'n', ARGV[1] + ARGV[3])";
    let keys = [format!("{topic}:due"), format!("{topic}:scheduled")];
    for begin in (0..entries).step_by(5_000) {
        let (begin, due) = (begin.to_string(), due.to_string());
        redis.command(&[
            "EVAL", script, "2", &keys[0], &keys[1], &begin, &due, "5000",
        ]);
    }
}

#[tokio::test]
async fn no_call_stops_the_server_for_long_with_a_million_scheduled_records() {
    const DUE: u64 = 20_000;
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    schedule(&redis, "static-bus:{command:c}", ENTRIES, DUE);
    redis.command(&["CONFIG", "SET", "slowlog-max-len", "1000"]);
    redis.command(&["CONFIG", "SET", "slowlog-log-slower-than", "5000"]);
    redis.command(&["SLOWLOG", "RESET"]);
    let due = |delay| Due::after(delay).with_key("key");
    let scheduled = |delay| Record {
        due: Some(due(delay)),
        ..record("late")
    };
    append(&transport, &topic, [scheduled(Duration::from_secs(36_000))]).await;
    assert!(transport.cancel(&topic, "key").await.unwrap());
    append(&transport, &topic, [scheduled(Duration::ZERO)]).await;
    let consumer = transport.consume(subscription(topic.clone(), "a")).await;
    let came = drain(&consumer.unwrap(), DUE as usize + 1).await;
    assert_eq!(came.len() as u64, DUE + 1, "each once");
    let state = transport.inspect(&[topic]).await.unwrap().remove(0);
    assert_eq!(state.scheduled, ENTRIES - DUE);
    let slowest = slowest(&redis);
    println!("the slowest call: {slowest:?}");
    assert!(slowest.0 < STOP, "{slowest:?}");
}
