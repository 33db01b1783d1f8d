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
    DeadLetters, Headers, MemoryBroker, RetryPolicy, Transport, TransportErrorKind, Worker,
    current,
    transport::{Consumer, Kind, Record, Subscription, Topic},
};

use crate::support::{
    LONG, MS, Op, SECOND, TestBroker, append, connect, dead_lettered, end_three_members, letters,
    listen, quick, record, settled, until,
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
            record(PAY, r#"{"invoice":7}"#, |envelope| {
                envelope.idempotency_key = Some("k".repeat(1025).into());
            }),
            "its idempotency key, or its id, has 1025 bytes, and the limit is 1024",
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
    let count = broken.len() - 1;
    let letters = dead_lettered(&broker, count).await;
    assert_eq!(letters.len(), count);
    for (record, error) in &broken[..count] {
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
