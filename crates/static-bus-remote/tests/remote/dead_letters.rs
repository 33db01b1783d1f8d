//! Messages that cannot be handled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{
    DeadLetters, Headers, MemoryBroker, RemoteBus, RetryPolicy, Transport, TransportErrorKind,
    Worker, current,
    transport::{Consumer, Kind, Record, Subscription, Topic, key_from_bytes, key_to_bytes},
};

use crate::support::{
    Fault, LONG, MS, Op, SECOND, TestBroker, append, connect, dead_lettered, end_three_members,
    letters, listen, quick, record, settled, until,
};

#[derive(Serialize, Deserialize)]
struct Pay {
    invoice: u32,
}
command!(Pay, name = "billing.pay", key = invoice);

#[derive(Serialize, Deserialize)]
struct Paid {
    invoice: u32,
}
event!(Paid, name = "billing.paid");

const PAY: &str = "billing.pay";

/// A bus whose handler reports the invoice, and fails while `fails` is set.
fn till(
    fails: &Arc<AtomicBool>,
    tell: crate::support::Tell<(u32, u32)>,
) -> impl static_bus::asynchronous::AsyncExecuteCommand<Pay> + Send + 'static {
    let fails = fails.clone();
    BusBuilder::new()
        .register_command_async_fn(move |pay: Pay| {
            let attempt = current().unwrap().attempt;
            tell.send((pay.invoice, attempt)).unwrap();
            let fails = fails.load(Ordering::SeqCst);
            async move {
                match fails {
                    true => Err(BusError::rejected::<Pay>("the bank is closed")),
                    false => Ok(()),
                }
            }
        })
        .build()
}

fn yes() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}
fn no() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_its_workers_is_dead_lettered_alone() {
    const KILLER: u32 = 13;
    let broker = TestBroker::new();
    let remote = connect(&broker).await;
    let invoices = (0..100).map(|invoice| Pay { invoice });
    remote.execute_many(invoices).await.unwrap();
    let (tell, mut heard) = listen();
    let mut crashes = 0;
    loop {
        let (kill, killed) = tokio::sync::oneshot::channel();
        let (kill, tell) = (std::sync::Mutex::new(Some(kill)), tell.clone());
        let bus = BusBuilder::new()
            .register_command_async_fn(move |pay: Pay| {
                let tell = tell.clone();
                if pay.invoice == KILLER {
                    _ = kill.lock().unwrap().take().map(|kill| kill.send(()));
                }
                async move {
                    // The others have started, and none has ended, when the fatal message is handled.
                    tokio::time::sleep(100 * MS).await;
                    tell.send(pay.invoice).unwrap();
                    Ok::<_, BusError>(())
                }
            })
            .build();
        let worker = Worker::new(broker.clone(), bus).command::<Pay>();
        let worker = worker.lease(5 * SECOND).start().await.unwrap();
        tokio::select! {
            _ = killed => crashes += 1,
            _ = dead_lettered(&broker, 1) => {
                settled(&broker, Kind::Command, PAY, "handlers").await;
                drop(worker);
                break;
            }
        }
    }
    assert_eq!(crashes, 5);
    let letters = letters(&broker).await;
    let bodies: Vec<_> = letters
        .iter()
        .map(|letter| &letter.record.body[..])
        .collect();
    assert_eq!(bodies, [format!("{{\"invoice\":{KILLER}}}").as_bytes()]);
    let mut paid = heard.rest();
    paid.sort_unstable();
    assert!(paid.into_iter().eq((0..100).filter(|n| *n != KILLER)));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_every_attempt_becomes_a_dead_letter_with_all_there_is_to_know() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let worker = Worker::new(broker.clone(), till(&yes(), tell))
        .command::<Pay>()
        .service("till")
        .retries(quick(3))
        .start()
        .await
        .unwrap();
    let before = jiff::Timestamp::now();
    connect(&broker)
        .await
        .with_idempotency_key("invoice 7")
        .with_trace("00-trace-span-01", Some("vendor=1".into()))
        .execute_async(Pay { invoice: 7 })
        .await
        .unwrap();
    assert_eq!(heard.take(3).await, [(7, 1); 3]);
    let letter = dead_lettered(&broker, 1).await.remove(0);
    settled(&broker, Kind::Command, PAY, "handlers").await;

    assert_eq!(letter.origin, "command billing.pay");
    assert_eq!(letter.group, "handlers");
    assert_eq!(letter.service, "till");
    assert_eq!(letter.attempts, 3);
    assert_eq!(
        letter.error,
        "billing.pay: its handler failed: the bank is closed"
    );
    let [first, last] = [&letter.first_failure, &letter.last_failure].map(|time| {
        let time: jiff::Timestamp = time.parse().unwrap();
        time
    });
    assert!(before <= first && first <= last && last <= jiff::Timestamp::now());
    // Body, attributes and key are unchanged.
    let sent = broker.only(Kind::Command);
    assert_eq!(letter.record, sent);
    assert_eq!(letter.record.key.as_deref(), Some("7"));
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_becomes_a_dead_letter_at_once() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |pay: Pay| {
            tell.send(pay.invoice).unwrap();
            async { Err(BusError::refused::<Pay>("no such invoice")) }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Pay>();
    let worker = worker.start().await.unwrap();
    connect(&broker)
        .await
        .execute_async(Pay { invoice: 7 })
        .await
        .unwrap();
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.attempts, 1);
    assert_eq!(
        letter.error,
        "billing.pay: its handler failed: no such invoice"
    );
    worker.shutdown(LONG).await;
    assert_eq!(heard.rest(), [7]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_becomes_a_dead_letter_at_once_and_the_rest_goes_on() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let worker = Worker::new(broker.clone(), till(&no(), tell))
        .command::<Pay>()
        .retries(quick(5))
        .start()
        .await
        .unwrap();
    let headers = Headers::from_iter([("specversion", "1.0"), ("id", "1")]);
    let broken = [
        (record(PAY, "{", |_| {}), "EOF while parsing an object"),
        (
            record(PAY, r#"{"invoice":"seven"}"#, |_| {}),
            "invalid type: string \"seven\"",
        ),
        (
            record("billing.refund", "{}", |_| {}),
            "its type is \"billing.refund\", and nobody here serves that",
        ),
        (
            record(PAY, "<invoice/>", |envelope| {
                envelope.content_type = "application/xml".into();
            }),
            "no codec reads the content type \"application/xml\"",
        ),
        (
            Record {
                headers,
                body: "{}".into(),
                ..Record::default()
            },
            "the attribute `source` is missing or cannot be read",
        ),
        (
            Record::default(),
            "the attribute `specversion` is missing or cannot be read",
        ),
        (
            record(PAY, r#"{"invoice":8}"#, |_| {}),
            "", // this one can be read
        ),
    ];
    for (record, _) in &broken {
        append(&broker, Kind::Command, PAY, record.clone()).await;
    }
    assert_eq!(heard.next().await, (8, 1));
    let letters = dead_lettered(&broker, 6).await;
    assert_eq!(letters.len(), 6);
    for (record, error) in &broken[..6] {
        let found = letters.iter().find(|letter| letter.record == *record);
        let letter = found.unwrap_or_else(|| panic!("nothing says {error}"));
        assert!(
            letter.error.starts_with("it cannot be read: ") && letter.error.contains(error),
            "{}",
            letter.error
        );
        assert_eq!(letter.attempts, 0, "no handler was begun");
    }
    settled(&broker, Kind::Command, PAY, "handlers").await;
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn while_no_dead_letter_can_be_written_nothing_is_acknowledged_and_nothing_lost() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    broker.break_(|op| op == Op::Append(Kind::DeadLetter));
    let worker = Worker::new(broker.clone(), till(&yes(), tell))
        .command::<Pay>()
        .retries(quick(2))
        .lease(SECOND)
        .start()
        .await
        .unwrap();
    connect(&broker)
        .await
        .execute_async(Pay { invoice: 7 })
        .await
        .unwrap();
    heard.take(2).await;
    tokio::time::sleep(LONG).await;
    assert!(broker.calls(Op::Append(Kind::DeadLetter)) > 10);
    assert_eq!(broker.calls(Op::Acknowledge), 0);
    assert_eq!(letters(&broker).await.len(), 0);

    broker.mend();
    let letters = dead_lettered(&broker, 1).await;
    settled(&broker, Kind::Command, PAY, "handlers").await;
    assert_eq!(letters.len(), 1);
    assert_eq!(broker.items(Op::Acknowledge), 1);
    worker.shutdown(LONG).await;
    heard.is_silent();
}

#[tokio::test(start_paused = true)]
async fn a_replayed_command_runs_although_its_id_was_seen() {
    let (broker, fails, (tell, mut heard)) = (MemoryBroker::new(), yes(), listen());
    let worker = Worker::new(broker.clone(), till(&fails, tell))
        .command::<Pay>()
        .retries(quick(1))
        .start()
        .await
        .unwrap();
    let remote = connect(&broker).await.with_idempotency_key("invoice 7");
    remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    let dead = DeadLetters::of(broker.clone());
    for attempt in 1..4 {
        assert_eq!(heard.next().await, (7, attempt));
        let letter = dead_lettered(&broker, 1).await.remove(0);
        dead.replay(&letter).await.unwrap();
        assert_eq!(letters(&broker).await.len(), 0);
    }
    assert_eq!(heard.next().await, (7, 4));
    let letter = dead_lettered(&broker, 1).await.remove(0);
    fails.store(false, Ordering::SeqCst);
    dead.replay(&letter).await.unwrap();
    assert_eq!(heard.next().await, (7, 5));
    settled(&broker, Kind::Command, PAY, "handlers").await;
    assert_eq!(letters(&broker).await.len(), 0);

    // After it was handled, another message with its key is a duplicate, replayed or not.
    remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    dead.replay(&letter).await.unwrap();
    settled(&broker, Kind::Command, PAY, "handlers").await;
    worker.shutdown(LONG).await;
    heard.is_silent();
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_goes_to_the_subscriber_that_could_not_handle_it() {
    let broker = MemoryBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let fails = yes();
    let failing = fails.clone();
    let stock = BusBuilder::new()
        .subscribe_async_fn(move |paid: &Paid| {
            tell_one.send(paid.invoice).unwrap();
            let fails = failing.load(Ordering::SeqCst);
            async move {
                match fails {
                    true => Err(BusError::refused::<Paid>("no stock")),
                    false => Ok(()),
                }
            }
        })
        .build();
    let mail = BusBuilder::new()
        .subscribe_fn(move |paid: &Paid| tell_two.send(paid.invoice).unwrap())
        .build();
    let stock = Worker::new(broker.clone(), stock).event::<Paid>("stock");
    let stock = stock.start().await.unwrap();
    let mail = Worker::new(broker.clone(), mail).event::<Paid>("mail");
    let mail = mail.start().await.unwrap();
    let remote = connect(&broker).await;
    remote.publish_async(&Paid { invoice: 7 }).await.unwrap();
    assert_eq!((one.next().await, two.next().await), (7, 7));
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.origin, "event billing.paid");
    assert_eq!(letter.group, "stock");

    fails.store(false, Ordering::SeqCst);
    DeadLetters::of(broker.clone())
        .replay(&letter)
        .await
        .unwrap();
    assert_eq!(one.next().await, 7);
    settled(&broker, Kind::Event, "billing.paid", "stock").await;
    settled(&broker, Kind::Event, "billing.paid", "mail").await;
    stock.shutdown(LONG).await;
    mail.shutdown(LONG).await;
    two.is_silent();
    one.is_silent();
    assert_eq!(letters(&broker).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_replay_keeps_attributes_that_nobody_here_knows() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let mut from_elsewhere = record(PAY, "{}", |_| {});
    from_elsewhere.headers.push("dataschema", "v7");
    from_elsewhere.key = Some("7".into());
    let worker = Worker::new(broker.clone(), till(&no(), tell)).command::<Pay>();
    let worker = worker.start().await.unwrap();
    append(&broker, Kind::Command, PAY, from_elsewhere.clone()).await;
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.record, from_elsewhere);
    worker.shutdown(LONG).await;
    DeadLetters::of(broker.clone())
        .replay(&letter)
        .await
        .unwrap();
    let replayed = broker.appended(Kind::Command).pop().unwrap();
    assert_eq!(replayed.headers.get("dataschema").as_deref(), Some("v7"));
    assert_eq!(replayed.headers.get("attempt").as_deref(), Some("2"));
    assert_eq!(replayed.key, from_elsewhere.key);
    heard.is_silent();
}

#[tokio::test(start_paused = true)]
async fn a_discarded_dead_letter_is_gone_and_the_others_are_not() {
    let (broker, (tell, _heard)) = (MemoryBroker::new(), listen());
    let worker = Worker::new(broker.clone(), till(&yes(), tell))
        .command::<Pay>()
        .retries(quick(1))
        .start()
        .await
        .unwrap();
    let remote = connect(&broker).await;
    for invoice in 0..3 {
        remote.execute_async(Pay { invoice }).await.unwrap();
    }
    let dead = DeadLetters::of(broker.clone());
    let all = dead_lettered(&broker, 3).await;
    dead.discard(&all[1]).await.unwrap();
    dead.discard(&all[1]).await.unwrap();
    let left: Vec<_> = letters(&broker).await.into_iter().collect();
    let position = |letters: &[static_bus_remote::DeadLetter]| {
        let positions = letters.iter().map(|letter| letter.position.clone());
        positions.collect::<Vec<_>>()
    };
    assert_eq!(position(&left), position(&[all[0].clone(), all[2].clone()]));
    // Page by page, the oldest first.
    let page = dead.list(Some(&all[0].position), 1).await.unwrap();
    assert_eq!(position(&page), position(&all[2..]));
    assert_eq!(dead.list(Some(&all[2].position), 1).await.unwrap().len(), 0);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_killed_its_worker_again_and_again_is_dead_lettered_and_not_begun() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    connect(&broker)
        .await
        .execute_async(Pay { invoice: 7 })
        .await
        .unwrap();
    end_three_members(&broker, PAY).await;
    let worker = Worker::new(broker.clone(), till(&no(), tell))
        .command::<Pay>()
        .retries(quick(3))
        .start()
        .await
        .unwrap();
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.attempts, 3);
    assert_eq!(
        letter.error,
        "it was handed out 3 times, and no worker came to its end: it may kill them"
    );
    assert_eq!(letter.first_failure, letter.last_failure);
    settled(&broker, Kind::Command, PAY, "handlers").await;
    worker.shutdown(LONG).await;
    heard.is_silent();
}

#[tokio::test(start_paused = true)]
async fn attempts_before_a_crash_count() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let remote = connect(&broker).await;
    remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    let topic = Topic {
        kind: Kind::Command,
        name: PAY.into(),
    };
    let mut subscription = Subscription::new(topic, "handlers", "killed");
    subscription.lease = SECOND;
    let consumer = broker.consume(subscription).await.unwrap();
    assert_eq!(consumer.receive(1, LONG).await.unwrap().len(), 1);
    drop(consumer);
    let worker = Worker::new(broker.clone(), till(&yes(), tell))
        .command::<Pay>()
        .retries(quick(3))
        .start()
        .await
        .unwrap();
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.attempts, 3);
    worker.shutdown(LONG).await;
    assert_eq!(heard.rest().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_called_at_least_once_whatever_the_retries_say() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let worker = Worker::new(broker.clone(), till(&no(), tell))
        .command::<Pay>()
        .retries(RetryPolicy {
            max_attempts: 0,
            ..quick(1)
        })
        .start()
        .await
        .unwrap();
    let remote = connect(&broker).await;
    remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    assert_eq!(heard.next().await, (7, 1));
    worker.shutdown(LONG).await;
    assert_eq!(letters(&broker).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_message_is_read_makes_a_dead_letter_of_it_and_the_rest_goes_on() {
    struct Fragile(u32);
    command!(Fragile, name = "test.fragile");
    impl<'de> Deserialize<'de> for Fragile {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let number = u32::deserialize(from)?;
            assert_ne!(number, 7, "seven is not allowed");
            Ok(Fragile(number))
        }
    }
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_command_fn(move |fragile: Fragile| tell.send(fragile.0).unwrap())
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Fragile>();
    let worker = worker.start().await.unwrap();
    for body in ["7", "8"] {
        let record = record("test.fragile", body, |_| {});
        append(&broker, Kind::Command, "test.fragile", record).await;
    }
    assert_eq!(heard.next().await, 8);
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert!(
        letter.error.contains("seven is not allowed"),
        "{}",
        letter.error
    );
    assert!(worker.health().await.live);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_it_is_written_is_a_failed_attempt() {
    #[derive(Debug)]
    struct Unwritable;
    impl std::fmt::Display for Unwritable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words")
        }
    }
    impl std::error::Error for Unwritable {}
    for waits in [false, true] {
        let broker = MemoryBroker::new();
        let bus = BusBuilder::new()
            .register_command_async_fn(move |_: Pay| async move {
                if waits {
                    tokio::time::sleep(MS).await;
                }
                Err(BusError::rejected::<Pay>(Unwritable))
            })
            .build();
        let worker = Worker::new(broker.clone(), bus)
            .command::<Pay>()
            .retries(quick(2));
        let worker = worker.start().await.unwrap();
        let remote = connect(&broker).await;
        remote.execute_async(Pay { invoice: 7 }).await.unwrap();
        let letter = dead_lettered(&broker, 1).await.remove(0);
        assert_eq!(letter.error, "its handler panicked: no words");
        assert_eq!(letter.attempts, 2);
        assert!(worker.health().await.live);
        worker.shutdown(LONG).await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_behind_one_that_may_kill_workers_are_released_while_it_runs() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = connect(&broker).await;
    for invoice in [7, 8] {
        remote.execute_async(Pay { invoice }).await.unwrap();
    }
    end_three_members(&broker.inner, PAY).await;
    broker.fail(Op::Release, TransportErrorKind::Unreachable, 3);
    let endless = BusBuilder::new()
        .register_command_async_fn(|_: Pay| std::future::pending())
        .build();
    let first = Worker::new(broker.clone(), endless).command::<Pay>();
    let first = first.start().await.unwrap();
    let begun = tokio::time::Instant::now();
    let second = Worker::new(broker.clone(), till(&no(), tell)).command::<Pay>();
    let second = second.start().await.unwrap();
    assert_eq!(heard.next().await, (8, 1));
    assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn a_failing_message_comes_again_after_a_while_and_the_next_of_its_key_waits() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let failures = Arc::new(AtomicU32::new(3));
    let bus = BusBuilder::new()
        .register_command_async_fn(move |pay: Pay| {
            tell.send((pay.invoice, tokio::time::Instant::now()))
                .unwrap();
            let fails = pay.invoice == 7
                && failures
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok();
            async move {
                match fails {
                    true => Err(BusError::rejected::<Pay>("not yet")),
                    false => Ok(()),
                }
            }
        })
        .build();
    let retries = RetryPolicy {
        max_attempts: 5,
        initial_delay: Duration::from_secs(10),
        max_delay: Duration::from_secs(15),
    };
    let worker = Worker::new(broker.clone(), bus)
        .command::<Pay>()
        .retries(retries)
        .start()
        .await
        .unwrap();
    let remote = connect(&broker).await;
    for invoice in [7, 7, 8] {
        remote.execute_async(Pay { invoice }).await.unwrap();
    }
    let mut all = Vec::new();
    while all.len() < 6 {
        all.push(heard.next().await);
    }
    let invoices: Vec<_> = all.iter().map(|(invoice, _)| *invoice).collect();
    assert_eq!(invoices, [7, 8, 7, 7, 7, 7], "8 waits for nobody");
    let sevens: Vec<_> = all
        .iter()
        .filter(|(i, _)| *i == 7)
        .map(|(_, at)| *at)
        .collect();
    let waited: Vec<_> = sevens.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (waited, bound) in waited.iter().zip([10, 15, 15]) {
        assert!(*waited <= Duration::from_secs(bound) + SECOND, "{waited:?}");
    }
    assert!(waited.iter().sum::<Duration>() > Duration::ZERO);
    until("all is settled", async || letters(&broker).await.is_empty()).await;
    worker.shutdown(LONG).await;
}

// ----- sizes

/// A command with an ordering key, of any size.
#[derive(Serialize, Deserialize)]
struct Load {
    key: u32,
    text: String,
}
command!(Load, name = "test.load", key = key);

const LOAD: &str = "test.load";
const LIMIT: usize = 64 * 1024;

fn limited() -> TestBroker {
    TestBroker::around(MemoryBroker::builder().max_record(LIMIT).build())
}

/// A bus whose handler refuses the texts that are not empty, with this error.
fn loading(
    error: &str,
    tell: crate::support::Tell<usize>,
) -> impl static_bus::asynchronous::AsyncExecuteCommand<Load> + Send + 'static {
    let error = error.to_owned();
    BusBuilder::new()
        .register_command_async_fn(move |load: Load| {
            tell.send(load.text.len()).unwrap();
            let error = error.clone();
            async move {
                match load.text.is_empty() {
                    true => Ok(()),
                    false => Err(BusError::refused::<Load>(error)),
                }
            }
        })
        .build()
}

/// Sends a command of this size, and one behind it with the same key.
async fn load(broker: &TestBroker, len: usize) {
    let remote = connect(broker).await;
    for len in [len, 0] {
        let text = "x".repeat(len);
        remote.execute_async(Load { key: 7, text }).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_just_under_the_limit_becomes_a_complete_dead_letter_with_its_error_cut() {
    const ALMOST: usize = LIMIT - 1024;
    let (broker, (tell, mut heard)) = (limited(), listen());
    let error = "ß".repeat(1 << 20);
    let worker = Worker::new(broker.clone(), loading(&error, tell)).command::<Load>();
    let worker = worker.start().await.unwrap();
    load(&broker, ALMOST).await;
    assert_eq!(heard.take(2).await, [ALMOST, 0], "its key goes on");
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(
        (letter.omitted, letter.record.body.len() > ALMOST),
        (0, true)
    );
    let cut = format!("ßß… (cut: 4095 of {} bytes)", 31 + error.len());
    assert!(
        letter
            .error
            .starts_with("test.load: its handler failed: ßß")
    );
    assert!(letter.error.ends_with(&cut), "{}", letter.error);
    assert_eq!(letter.error.len(), 4095 - "ßß".len() + cut.len());
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_too_large_is_written_without_the_body_and_says_so() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    broker.fail(
        Op::Append(Kind::DeadLetter),
        TransportErrorKind::TooLarge,
        1,
    );
    let worker = Worker::new(broker.clone(), loading("no", tell)).command::<Load>();
    let worker = worker.start().await.unwrap();
    load(&broker, 1000).await;
    assert_eq!(heard.take(2).await, [1000, 0], "its key goes on");
    let letter = dead_lettered(&broker, 1).await.remove(0);
    let sent = broker.appended(Kind::Command).remove(0);
    assert_eq!(letter.omitted, sent.body.len());
    let body = Default::default();
    assert_eq!(letter.record, Record { body, ..sent });

    let error = DeadLetters::of(broker.clone()).replay(&letter).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "test://broker: the dead letter {} of command test.load cannot be replayed: {} bytes of the message \
             were too large to be stored with it; send the message again, and discard the dead letter",
            letter.position, letter.omitted
        )
    );
    assert_eq!(letters(&broker).await.len(), 1, "it is still there");
    assert_eq!(worker.health().await.reasons, [""; 0]);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_whose_attributes_are_too_large_is_written_without_the_message() {
    let (broker, (tell, mut heard)) = (limited(), listen());
    // Two bytes of each character are added to the record, and four to its dead letter.
    let large = record(LOAD, r#"{"key":7,"text":"x"}"#, |envelope| {
        envelope.trace_state = Some("%".repeat(LIMIT / 3 - 500).into());
        envelope.partition_key = Some("7".into());
    });
    let large = Record {
        key: Some("7".into()),
        ..large
    };
    append(&broker, Kind::Command, LOAD, large.clone()).await;
    load(&broker, 0).await;
    // After a restart as well.
    for _ in 0..2 {
        let worker = Worker::new(broker.clone(), loading("no", tell.clone())).command::<Load>();
        let worker = worker.start().await.unwrap();
        settled(&broker, Kind::Command, LOAD, "handlers").await;
        worker.shutdown(LONG).await;
    }
    assert_eq!(heard.rest(), [1, 0, 0], "its key goes on");
    let letter = letters(&broker).await.remove(0);
    assert_eq!(letter.record, Record::default());
    let whole = large.headers.as_str().len() + large.body.len() + "7".len();
    assert_eq!(letter.omitted, whole);
    assert_eq!(letter.error, "test.load: its handler failed: no");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_text_survives_a_dead_letter_and_its_replay() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let worker = Worker::new(broker.clone(), loading("no", tell)).command::<Load>();
    let worker = worker.start().await.unwrap();
    let all: Vec<u8> = (0..=255).rev().collect();
    let placeholder = "\u{10FFC3}\u{10FFA9}%\n";
    let dead = DeadLetters::of(broker.clone());
    for bytes in [
        &all[..],
        b"7\xFF",
        b"",
        placeholder.as_bytes(),
        "é%25".as_bytes(),
    ] {
        let sent = Record {
            key: Some(key_from_bytes(bytes)),
            ..record(LOAD, r#"{"key":7,"text":"x"}"#, |_| {})
        };
        append(&broker, Kind::Command, LOAD, sent.clone()).await;
        heard.next().await;
        let letter = dead_lettered(&broker, 1).await.remove(0);
        assert_eq!(letter.record, sent);
        dead.replay(&letter).await.unwrap();
        heard.next().await;
        let replayed = broker.appended(Kind::Command).pop().unwrap();
        assert_eq!(*key_to_bytes(replayed.key.as_deref().unwrap()), *bytes);
        let letter = dead_lettered(&broker, 1).await.remove(0);
        dead.discard(&letter).await.unwrap();
    }
    worker.shutdown(LONG).await;
}

/// A message without a worker.
#[derive(Serialize, Deserialize)]
struct Thank {
    invoice: u32,
}
command!(Thank, name = "mail.thank");

#[tokio::test(start_paused = true)]
async fn what_the_broker_does_not_take_uses_up_no_attempt() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = Arc::new(connect(&broker).await);
    let sending = remote.clone();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |Pay { invoice }: Pay| {
            tell.send(()).unwrap();
            let remote = sending.clone();
            async move {
                remote.execute_async(Thank { invoice }).await?;
                Err(BusError::rejected::<Pay>("the bank is closed"))
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Pay>();
    let worker = worker.retries(quick(3)).start().await.unwrap();
    remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.attempts, 3);
    heard.take(3).await;

    remote.execute_async(Pay { invoice: 8 }).await.unwrap();
    broker.break_(|op| op == Op::Append(Kind::Command));
    heard.take(50).await;
    assert_eq!(letters(&broker).await.len(), 1);
    broker.mend();
    let letter = dead_lettered(&broker, 2).await.remove(1);
    assert_eq!(letter.attempts, 3, "those that the broker did not fail");
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_does_not_take_from_a_subscriber_uses_up_no_attempt() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = Arc::new(connect(&broker).await);
    let sending = remote.clone();
    let bus = BusBuilder::new()
        .subscribe_async_fn(move |paid: &Paid| {
            tell.send(()).unwrap();
            let (remote, invoice) = (sending.clone(), paid.invoice);
            async move { remote.execute_async(Thank { invoice }).await }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).event::<Paid>("mail");
    let worker = worker.retries(quick(3)).start().await.unwrap();
    broker.break_(|op| op == Op::Append(Kind::Command));
    remote.publish_async(&Paid { invoice: 7 }).await.unwrap();
    heard.take(50).await;
    broker.mend();
    settled(&broker, Kind::Event, "billing.paid", "mail").await;
    worker.shutdown(LONG).await;
    assert_eq!(letters(&broker).await.len(), 0);
}

/// A bus whose handler of a payment publishes an event, and reports the attempt.
fn publishing(
    remote: &Arc<RemoteBus<TestBroker>>,
    tell: crate::support::Tell<u32>,
) -> impl static_bus::asynchronous::AsyncExecuteCommand<Pay> + Send + 'static {
    let remote = remote.clone();
    BusBuilder::new()
        .register_command_async_fn(move |Pay { invoice }: Pay| {
            tell.send(current().unwrap().attempt).unwrap();
            let remote = remote.clone();
            async move { remote.publish_async(&Paid { invoice }).await }
        })
        .build()
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_sends_too_much_makes_a_dead_letter_at_once_and_its_key_goes_on() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = Arc::new(connect(&broker).await);
    let worker = Worker::new(broker.clone(), publishing(&remote, tell)).command::<Pay>();
    let worker = worker.retries(quick(5)).start().await.unwrap();
    broker.fail(Op::Append(Kind::Event), TransportErrorKind::TooLarge, 1);
    for _ in 0..2 {
        remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    }
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.attempts, 1);
    assert!(
        letter.error.contains("the record is too large"),
        "{}",
        letter.error
    );
    settled(&broker, Kind::Command, PAY, "handlers").await;
    assert_eq!(heard.rest(), [1, 1]);
    assert_eq!(broker.appended(Kind::Event).len(), 1, "of the second");
    assert_eq!(letters(&broker).await.len(), 1);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_sends_too_much_makes_a_dead_letter_at_once() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = Arc::new(connect(&broker).await);
    let sending = remote.clone();
    let bus = BusBuilder::new()
        .subscribe_async_fn(move |paid: &Paid| {
            tell.send(()).unwrap();
            let (remote, invoice) = (sending.clone(), paid.invoice);
            async move {
                let sent = remote.execute_async(Thank { invoice }).await;
                sent.map_err(BusError::rejected::<Paid>)
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).event::<Paid>("mail");
    let worker = worker.retries(quick(5)).start().await.unwrap();
    broker.fail(Op::Append(Kind::Command), TransportErrorKind::TooLarge, 1);
    remote.publish_async(&Paid { invoice: 7 }).await.unwrap();
    assert_eq!(dead_lettered(&broker, 1).await.remove(0).attempts, 1);
    heard.next().await;
    heard.is_silent();
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_sending_is_refused_uses_up_its_attempts_and_its_key_goes_on() {
    for kind in [
        TransportErrorKind::Refused,
        TransportErrorKind::Unauthorized,
    ] {
        let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
        let remote = Arc::new(connect(&broker).await);
        let worker = Worker::new(broker.clone(), publishing(&remote, tell)).command::<Pay>();
        let worker = worker.retries(quick(3)).start().await.unwrap();
        broker.fail(Op::Append(Kind::Event), kind, 3);
        for _ in 0..2 {
            remote.execute_async(Pay { invoice: 7 }).await.unwrap();
        }
        let letter = dead_lettered(&broker, 1).await.remove(0);
        assert_eq!(letter.attempts, 3, "{kind:?}");
        settled(&broker, Kind::Command, PAY, "handlers").await;
        assert_eq!(heard.rest().len(), 4, "three of the first: {kind:?}");
        assert_eq!(broker.appended(Kind::Event).len(), 1, "of the second");
        worker.shutdown(LONG).await;
    }
}

/// An error of a handler, with another one as its source.
#[derive(Debug)]
struct Unpaid(Box<dyn std::error::Error + Send + Sync>);
impl std::fmt::Display for Unpaid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unpaid")
    }
}
impl std::error::Error for Unpaid {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_broker_in_an_error_of_the_handler_counts_by_its_kind() {
    const TIMES: usize = 20;
    for (kind, runs, attempts) in [
        (TransportErrorKind::TooLarge, 1, Some(1)),
        (TransportErrorKind::Refused, 3, Some(3)),
        (TransportErrorKind::Unauthorized, 3, Some(3)),
        (TransportErrorKind::Unreachable, TIMES + 1, None),
        (TransportErrorKind::Closed, TIMES + 1, None),
    ] {
        let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
        let remote = Arc::new(connect(&broker).await);
        let sending = remote.clone();
        // A handler that publishes on a bus of its own, one of whose subscribers is the broker.
        let inner = BusBuilder::new()
            .subscribe_async_fn(move |paid: &Paid| {
                let (remote, invoice) = (sending.clone(), paid.invoice);
                async move {
                    let sent = remote.execute_async(Thank { invoice }).await;
                    sent.map_err(|error| BusError::rejected::<Paid>(Unpaid(error.into())))
                }
            })
            .build();
        let inner = Arc::new(inner);
        let bus = BusBuilder::new()
            .register_command_async_fn(move |Pay { invoice }: Pay| {
                tell.send(()).unwrap();
                let inner = inner.clone();
                async move {
                    let published = inner.publish_async(&Paid { invoice }).await;
                    let twice = |error: BusError| Unpaid(Unpaid(error.into()).into());
                    published.map_err(|error| BusError::rejected::<Pay>(twice(error)))
                }
            })
            .build();
        let worker = Worker::new(broker.clone(), bus).command::<Pay>();
        let worker = worker.retries(quick(3)).start().await.unwrap();
        // The two payments are accepted, and then this number of other commands is not.
        let mut sent = 0;
        let failing = if attempts.is_some() { runs } else { TIMES };
        broker.rule(move |op| {
            sent += usize::from(op == Op::Append(Kind::Command));
            match op {
                Op::Append(Kind::Command) if sent > 2 && sent <= 2 + failing => Fault::Kind(kind),
                _ => Fault::None,
            }
        });
        let pay = || Pay { invoice: 7 };
        remote.execute_many([pay(), pay()]).await.unwrap();
        settled(&broker, Kind::Command, PAY, "handlers").await;
        let letters = letters(&broker).await;
        let found = letters.first().map(|letter| letter.attempts);
        assert_eq!(
            (found, letters.len()),
            (attempts, usize::from(attempts.is_some()))
        );
        assert_eq!(
            heard.rest().len(),
            runs + 1,
            "and the next of its key: {kind:?}"
        );
        worker.shutdown(LONG).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_another_transport_counts_as_an_attempt() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Pay| {
            tell.send(()).unwrap();
            async {
                Err(BusError::Transport {
                    message: "mail.thank",
                    source: "the mail server is down".into(),
                })
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Pay>();
    let worker = worker.retries(quick(3)).start().await.unwrap();
    let remote = connect(&broker).await;
    remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    assert_eq!(dead_lettered(&broker, 1).await.remove(0).attempts, 3);
    assert_eq!(heard.rest().len(), 3);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn what_may_heal_by_waiting_uses_up_no_attempt_of_a_handler() {
    for kind in [TransportErrorKind::Unreachable, TransportErrorKind::Closed] {
        let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
        let remote = Arc::new(connect(&broker).await);
        let worker = Worker::new(broker.clone(), publishing(&remote, tell)).command::<Pay>();
        let worker = worker.retries(quick(3)).start().await.unwrap();
        broker.fail(Op::Append(Kind::Event), kind, 50);
        remote.execute_async(Pay { invoice: 7 }).await.unwrap();
        assert_eq!(heard.take(51).await, [1; 51], "{kind:?}");
        settled(&broker, Kind::Command, PAY, "handlers").await;
        assert_eq!(letters(&broker).await.len(), 0, "{kind:?}");
        worker.shutdown(LONG).await;
    }
}
