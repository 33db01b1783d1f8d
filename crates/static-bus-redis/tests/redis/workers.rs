//! Workers on Redis: killed processes, dead letters that cannot be written, versions that differ.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, BusError},
    prelude::*,
};
use static_bus_redis::RedisTransport;
use static_bus_remote::{DeadLetter, DeadLetters, RemoteBus, RetryPolicy, Worker};
use tokio::sync::mpsc;

use crate::support::{LONG, connect, eventually, redis_at};
use test_brokers::doomed::{self, Doomed, HANDLING};
use test_brokers::redis::Redis;

#[derive(Serialize, Deserialize)]
struct Pay {
    invoice: u32,
}
command!(Pay, name = "billing.pay", key = invoice);

const LEASE: Duration = Duration::from_secs(2);

/// The process of a test. Does nothing without the address of a broker.
#[tokio::test]
async fn the_worker_that_is_killed() {
    let Some(url) = doomed::told() else { return };
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: Pay| async {
            println!("{HANDLING}");
            std::future::pending().await
        })
        .build();
    let transport = redis_at(url).connect().await.unwrap();
    let worker = Worker::new(transport, bus).command::<Pay>().lease(LEASE);
    let _worker = worker.start().await.unwrap();
    // Ends also if it is not killed.
    tokio::time::sleep(2 * LONG).await;
}

fn paying(
    tell: mpsc::UnboundedSender<u32>,
    refuses: bool,
) -> impl AsyncExecuteCommand<Pay> + Send + 'static {
    BusBuilder::new()
        .register_command_async_fn(move |pay: Pay| {
            tell.send(pay.invoice).unwrap();
            async move {
                match refuses {
                    true => Err(BusError::refused::<Pay>("no such invoice")),
                    false => Ok(()),
                }
            }
        })
        .build()
}

async fn next(heard: &mut mpsc::UnboundedReceiver<u32>) -> u32 {
    let next = tokio::time::timeout(LONG, heard.recv()).await;
    next.expect("a handler runs").expect("a worker is there")
}

async fn dead_letters(transport: &RedisTransport) -> Vec<DeadLetter> {
    let dead = DeadLetters::of(transport.clone());
    eventually("there is a dead letter", || async {
        !dead.list(None, 10).await.unwrap().is_empty()
    })
    .await;
    dead.list(None, 10).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_worker_was_killed_is_handled_by_another_also_with_its_key_claimed() {
    let redis = Redis::start();
    let remote = RemoteBus::connect(connect(&redis).await).await.unwrap();
    let doomed = Doomed::start("workers::the_worker_that_is_killed", redis.url());
    let once = remote.with_idempotency_key("invoice 7");
    once.execute_async(Pay { invoice: 7 }).await.unwrap();
    doomed.kill_while_handling().await;
    // The producer sends it again.
    once.execute_async(Pay { invoice: 7 }).await.unwrap();
    remote.execute_async(Pay { invoice: 8 }).await.unwrap();

    let (tell, mut heard) = mpsc::unbounded_channel();
    let worker = Worker::new(connect(&redis).await, paying(tell, false));
    let worker = worker.command::<Pay>().lease(LEASE).start().await.unwrap();
    let mut paid = [next(&mut heard).await, next(&mut heard).await];
    paid.sort_unstable();
    assert_eq!(paid, [7, 8]);
    eventually("all is settled", || async {
        redis
            .command(&["XINFO", "GROUPS", "static-bus:{command:billing.pay}"])
            .contains("pending\r\n:0\r\n")
    })
    .await;
    worker.shutdown(LONG).await;
    assert!(heard.try_recv().is_err(), "each is paid once");
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_is_kept_until_it_can() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    redis.command(&["SET", "static-bus:dead-letter", "in the way"]);
    let (tell, mut heard) = mpsc::unbounded_channel();
    let worker = Worker::new(transport.clone(), paying(tell, true)).command::<Pay>();
    let worker = worker.retries(RetryPolicy {
        max_attempts: 1,
        ..RetryPolicy::default()
    });
    let worker = worker.start().await.unwrap();
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    for invoice in [1, 2, 3] {
        remote.execute_async(Pay { invoice }).await.unwrap();
    }
    for _ in 0..3 {
        next(&mut heard).await;
    }
    // Some attempts to write the dead letters fail.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let dead = DeadLetters::of(transport.clone());
    assert!(dead.list(None, 10).await.is_err(), "it is out of reach");
    redis.command(&["DEL", "static-bus:dead-letter"]);
    eventually("all are dead-lettered", || async {
        dead.list(None, 10).await.unwrap().len() == 3
    })
    .await;
    worker.shutdown(LONG).await;
    let letters = dead.list(None, 10).await.unwrap();
    let mut bodies: Vec<_> = letters.iter().map(|l| l.record.body.to_vec()).collect();
    bodies.sort();
    let expected = [1, 2, 3].map(|n| format!(r#"{{"invoice":{n}}}"#).into_bytes());
    assert_eq!(bodies, expected, "each once");
    assert!(heard.try_recv().is_err(), "none ran again");
}

#[tokio::test]
async fn a_message_of_a_newer_version_becomes_a_dead_letter_unchanged() {
    #[derive(Serialize)]
    struct Newer {
        invoice: &'static str,
        currency: &'static str,
    }
    command!(Newer, name = "billing.pay", key = invoice);
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let (tell, mut heard) = mpsc::unbounded_channel();
    let worker = Worker::new(transport.clone(), paying(tell, false)).command::<Pay>();
    let worker = worker.start().await.unwrap();
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    let newer = Newer {
        invoice: "2026/7",
        currency: "EUR",
    };
    remote.execute_async(newer).await.unwrap();
    remote.execute_async(Pay { invoice: 8 }).await.unwrap();
    assert_eq!(next(&mut heard).await, 8);
    let letters = dead_letters(&transport).await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.origin, "command billing.pay");
    let place = letter.place.as_deref().unwrap();
    assert!(
        place.starts_with("static-bus:{command:billing.pay}/"),
        "{place}"
    );
    assert_eq!(
        letter.record.body,
        r#"{"invoice":"2026/7","currency":"EUR"}"#
    );
    assert_eq!(letter.record.key.as_deref(), Some("2026/7"));
    assert_eq!(
        letter.record.headers.get("type").as_deref(),
        Some("billing.pay")
    );
    worker.shutdown(LONG).await;
}

#[derive(Serialize, Deserialize)]
struct Receipt {
    text: String,
}
command!(Receipt, name = "billing.receipt");

#[tokio::test]
async fn a_handler_whose_send_is_refused_for_good_makes_a_dead_letter_and_its_key_goes_on() {
    for (size, permission, attempts, reason) in [
        (10, "+xadd", 3, "WRONGTYPE"),
        (10, "-xadd", 3, "ACL SETUSER"),
        (200_000, "+xadd", 1, "100000"),
    ] {
        let redis = Redis::start();
        redis.command(&["SET", "static-bus:{command:billing.receipt}", "of others"]);
        redis.command(&[
            "ACL", "SETUSER", "ann", "on", ">s3cr3t", "~*", "+@all", permission,
        ]);
        let transport = connect(&redis).await;
        let remote = RemoteBus::connect(transport.clone()).await.unwrap();
        let url = format!("redis://ann:s3cr3t@{}", redis.host_and_port());
        let sending = redis_at(url).max_record(100_000);
        let sending = sending.connect().await.unwrap();
        let sending = RemoteBus::connect(sending).await.unwrap();
        let bus = BusBuilder::new()
            .register_command_async_fn(move |_: Pay| {
                let (remote, text) = (sending.clone(), "x".repeat(size));
                async move { remote.execute_async(Receipt { text }).await }
            })
            .build();
        let retries = RetryPolicy {
            max_attempts: 3,
            initial_delay: Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        let worker = Worker::new(transport.clone(), bus).command::<Pay>();
        let worker = worker.retries(retries).start().await.unwrap();
        for _ in 0..2 {
            remote.execute_async(Pay { invoice: 7 }).await.unwrap();
        }
        let dead = DeadLetters::of(transport);
        eventually("both are dead letters", async || {
            dead.list(None, 10).await.unwrap().len() == 2
        })
        .await;
        for letter in dead.list(None, 10).await.unwrap() {
            assert_eq!(letter.attempts, attempts, "{}", letter.error);
            assert!(letter.error.contains(reason), "{}", letter.error);
        }
        worker.shutdown(LONG).await;
    }
}

#[tokio::test]
async fn a_key_of_any_bytes_survives_its_dead_letter_and_the_replay() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let (tell, mut heard) = mpsc::unbounded_channel();
    let worker = Worker::new(transport.clone(), paying(tell, true)).command::<Pay>();
    let worker = worker.start().await.unwrap();
    // Another program writes messages too. Its key is not UTF-8.
    let script =
        "return redis.call('XADD', KEYS[1], '*', 'k', '7\\255', 'h', ARGV[1], 'd', ARGV[2])";
    let headers = "specversion: 1.0\nid: 1\nsource: other\ntype: billing.pay\ndatacontenttype: application/json\n";
    let stream = "static-bus:{command:billing.pay}/3";
    redis.command(&["EVAL", script, "1", stream, headers, r#"{"invoice":7}"#]);
    assert_eq!(next(&mut heard).await, 7);
    let letters = dead_letters(&transport).await;
    let dead = DeadLetters::of(transport);
    dead.replay(&letters[0]).await.unwrap();
    assert_eq!(next(&mut heard).await, 7);
    worker.shutdown(LONG).await;
    let find = "for n = 0, 7 do
          for _, entry in ipairs(redis.call('XRANGE', KEYS[1] .. n, '-', '+')) do
            local record = {}
            for i = 1, #entry[2], 2 do record[entry[2][i]] = entry[2][i + 1] end
            if record.k == '7\\255' and string.find(record.r or '', 'attempt: 2') then return 1 end
          end
        end
        return 0";
    let found = redis.command(&["EVAL", find, "1", "static-bus:{command:billing.pay}/"]);
    assert_eq!(found, ":1\r\n", "the replay has the same key");
}

mod one {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Note(pub u32);
    static_bus::command!(Note);
}
mod two {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Note(pub u32);
    static_bus::command!(Note);
}

#[tokio::test]
async fn types_of_one_name_in_different_modules_do_not_meet() {
    let redis = Redis::start();
    let (tell_one, mut one) = mpsc::unbounded_channel();
    let (tell_two, mut two) = mpsc::unbounded_channel();
    let bus = BusBuilder::new()
        .register_command_fn(move |note: one::Note| tell_one.send(note.0).unwrap())
        .build();
    let first = Worker::new(connect(&redis).await, bus).command::<one::Note>();
    let first = first.start().await.unwrap();
    let bus = BusBuilder::new()
        .register_command_fn(move |note: two::Note| tell_two.send(note.0).unwrap())
        .build();
    let second = Worker::new(connect(&redis).await, bus).command::<two::Note>();
    let second = second.start().await.unwrap();
    let remote = RemoteBus::connect(connect(&redis).await).await.unwrap();
    for n in 0..20 {
        remote.execute_async(one::Note(n)).await.unwrap();
        remote.execute_async(two::Note(100 + n)).await.unwrap();
    }
    for (heard, expected) in [(&mut one, 0..20), (&mut two, 100..120)] {
        let mut notes = Vec::new();
        for _ in 0..20 {
            notes.push(next(heard).await);
        }
        notes.sort_unstable();
        assert!(notes.iter().copied().eq(expected), "{notes:?}");
    }
    first.shutdown(LONG).await;
    second.shutdown(LONG).await;
    assert!(one.try_recv().is_err() && two.try_recv().is_err());
}
