//! Commands and events from client to handler: retries, deduplication, order, dead letters.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::support::{
    DEADLINE, LONG, SILENCE, append, connect,
    jobs::{
        Happened, Job, client, dead_letters, execute, job_bus, job_worker, quick, report_channel,
        wait_for_dead_letters,
    },
    must, topic, within,
};
use super::{Harness, Outcome};
use static_bus::asynchronous::{AsyncPublishEvent, BusError};
use static_bus::message::Message;
use static_bus::prelude::*;
use static_bus_remote::{
    Codec, DeadLetters, Envelope, Worker, current,
    lock::lock,
    transport::{Inspect, Kind, Record},
};

/// A message whose handler fails is tried again, and the next message of its key waits for it.
pub async fn a_failed_message_comes_again_before_the_next_of_its_key<H: Harness>(
    harness: &H,
) -> Outcome {
    let (reporter, mut reports) = report_channel();
    let failures = Arc::new(AtomicUsize::new(3));
    let mut workers = Vec::new();
    for _ in 0..2 {
        let failures = failures.clone();
        let bus = job_bus(reporter.clone(), move |job: Job| {
            let fails = job.number == 0
                && failures
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok();
            async move { if fails { Err(rejected()) } else { Ok(()) } }
        });
        workers.push(job_worker(connect(harness).await, bus, |w| w).await);
    }
    execute(
        &client(connect(harness).await).await,
        (0..3).map(|n| (1, n)),
    )
    .await;
    let came = reports
        .take("the failed message and those behind it", 6)
        .await;
    let numbers: Vec<_> = came.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [0, 0, 0, 0, 1, 2], "message 0 fails three times");
    for worker in workers {
        worker.shutdown(DEADLINE).await;
    }
    Ok(())
}

/// A hundred messages that fail once are all handled, and none becomes a dead letter.
pub async fn a_hundred_failed_messages_are_all_handled<H: Harness>(harness: &H) -> Outcome {
    let (reporter, mut reports) = report_channel();
    let failed = Arc::new(Mutex::new(BTreeSet::new()));
    let bus = job_bus(reporter, move |job: Job| {
        let first = lock(&failed).insert(job.number);
        async move { if first { Err(rejected()) } else { Ok(()) } }
    });
    let transport = connect(harness).await;
    let worker = job_worker(connect(harness).await, bus, |w| w).await;
    execute(
        &client(connect(harness).await).await,
        (0..100).map(|n| (n % 10, n)),
    )
    .await;
    let mut came: Vec<_> = reports.take("a hundred messages, twice", 200).await;
    worker.shutdown(DEADLINE).await;
    came.extend(reports.rest());
    let mut times = BTreeMap::<u32, usize>::new();
    for (_, number) in came {
        *times.entry(number).or_default() += 1;
    }
    let twice = times.values().filter(|times| **times == 2).count();
    assert_eq!(
        (times.len(), twice),
        (100, 100),
        "each once more: {times:?}"
    );
    let letters = dead_letters(&transport).await;
    assert!(letters.is_empty(), "{} dead letters", letters.len());
    Ok(())
}

/// A handler that still runs when the time of a shutdown is over is cancelled. Another worker handles its message,
/// and all that the first worker had not begun.
pub async fn a_message_whose_handler_is_cancelled_at_shutdown_goes_to_another_worker<H: Harness>(
    harness: &H,
) -> Outcome {
    const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();
    let ((reporter, mut first), (other_reporter, mut second)) =
        (report_channel(), report_channel());
    let running = Arc::new(());
    let inside = running.clone();
    let bus = job_bus(reporter, move |_| {
        let inside = inside.clone();
        async move {
            std::future::pending::<()>().await;
            drop(inside);
            Ok(())
        }
    });
    let worker = job_worker(connect(harness).await, bus, |w| {
        w.configure::<Job>(|it| it.limit(TWO)).lease(LONG)
    })
    .await;
    execute(
        &client(connect(harness).await).await,
        (0..10).map(|n| (n, n)),
    )
    .await;
    first.take("two handlers that begin", 2).await;
    let other = job_bus(other_reporter, |_| async { Ok(()) });
    let closed = within("the worker closes", worker.shutdown(SILENCE)).await;
    assert_eq!(closed.cancelled, 2, "cancelled handlers: {closed:?}");
    within("the handlers are dropped", async {
        while Arc::strong_count(&running) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let other = job_worker(connect(harness).await, other, |w| w).await;
    let mut came = second.take("ten messages on the other worker", 10).await;
    other.shutdown(DEADLINE).await;
    came.extend(second.rest());
    came.sort_unstable();
    assert!(came.into_iter().eq((0..10).map(|n| (n, n))), "each once");
    Ok(())
}

/// A message that cannot be decoded becomes a dead letter with the record as it was appended. The messages behind it
/// are handled, also those of its key.
pub async fn a_message_that_cannot_be_decoded_is_dead_lettered_and_blocks_no_other<H: Harness>(
    harness: &H,
) -> Outcome {
    let (reporter, mut reports) = report_channel();
    let transport = connect(harness).await;
    let poison = Record {
        headers: Envelope::new("elsewhere", Job::NAME, Codec::Json.content_type()).headers(),
        body: "{not a job".into(),
        key: Some("1".into()),
        ..Record::default()
    };
    // No text that a database could compress to a key of its indexes.
    let long_key: String = (0..1_000_u32)
        .map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    let mut named = Envelope::new("elsewhere", Job::NAME, Codec::Json.content_type());
    named.idempotency_key = Some(long_key.into());
    let misnamed = Record {
        headers: named.headers(),
        ..poison.clone()
    };
    append(
        &transport,
        &topic(Kind::Command, Job::NAME),
        [poison.clone(), misnamed.clone()],
    )
    .await;
    execute(
        &client(connect(harness).await).await,
        [(1, 1), (1, 2), (2, 3)],
    )
    .await;
    let bus = job_bus(reporter, |_| async { Ok(()) });
    let worker = job_worker(connect(harness).await, bus, |w| w).await;
    let mut came = reports.take("the messages behind it", 3).await;
    came.sort_unstable();
    assert_eq!(came, [(1, 1), (1, 2), (2, 3)]);
    let letters = wait_for_dead_letters(&transport, 2).await;
    assert_eq!(letters.len(), 2, "dead letters");
    for (letter, record) in letters.iter().zip([poison, misnamed]) {
        assert_eq!(letter.record, record, "the record as it was appended");
        assert_eq!(letter.origin, "command conformance.job");
    }
    worker.shutdown(DEADLINE).await;
    Ok(())
}

/// A dead letter has the message, its origin and the last error, and is replayed to the group that failed, and to no
/// other. If that group does not exist, it is not replayed.
pub async fn a_dead_letter_is_complete_and_replayed_to_its_group_only<H>(harness: &H) -> Outcome
where
    H: Harness<Transport: Inspect>,
{
    let ((reporter, mut stock), (other_reporter, mut mail)) = (report_channel(), report_channel());
    let fails = Arc::new(AtomicBool::new(true));
    let failing = fails.clone();
    let bus = BusBuilder::new()
        .subscribe_async_fn(move |event: &Happened| {
            let _ = reporter.send(event.number);
            let fails = failing.load(Ordering::SeqCst);
            async move {
                match fails {
                    true => Err(BusError::rejected::<Happened>("no stock")),
                    false => Ok(()),
                }
            }
        })
        .build();
    let worker = Worker::new(connect(harness).await, bus).event::<Happened>("stock");
    let stock_worker = must(
        "a worker starts",
        worker.service("shop").retries(quick(3)).start(),
    )
    .await;
    let bus = BusBuilder::new()
        .subscribe_fn(move |event: &Happened| {
            let _ = other_reporter.send(event.number);
        })
        .build();
    let worker = Worker::new(connect(harness).await, bus).event::<Happened>("mail");
    let mail_worker = must("a worker starts", worker.start()).await;

    let bus = client(connect(harness).await).await;
    let publish = async |number| {
        let sent = bus.publish_async(&Happened { key: 7, number }).await;
        sent.unwrap_or_else(|error| panic!("an event: {error}"));
    };
    publish(1).await;
    assert_eq!(stock.take("three attempts", 3).await, [1, 1, 1]);
    let transport = connect(harness).await;
    let letter = wait_for_dead_letters(&transport, 1).await.remove(0);
    assert_eq!(letter.origin, "event conformance.happened");
    assert_eq!((&*letter.group, &*letter.service), ("stock", "shop"));
    assert_eq!(letter.attempts, 3, "attempts");
    assert!(
        letter.error.contains("no stock"),
        "its error: {}",
        letter.error
    );
    assert_eq!(letter.record.body, r#"{"key":7,"number":1}"#, "its body");
    assert_eq!(letter.record.key.as_deref(), Some("7"), "its key");

    fails.store(false, Ordering::SeqCst);
    let replay = DeadLetters::of(transport.clone());
    let mut orphan = letter.clone();
    orphan.group = "gone".to_owned();
    let refused = replay
        .replay(&orphan)
        .await
        .map_err(|error| error.to_string());
    assert!(
        refused
            .as_ref()
            .is_err_and(|text| text.contains("\"gone\" does not exist")),
        "the replay to a group that does not exist: {refused:?}"
    );
    let kept = dead_letters(&transport).await;
    assert_eq!(kept.len(), 1, "a dead letter that is not replayed is kept");
    must("replay", replay.replay(&letter)).await;
    assert_eq!(stock.next("the replayed event").await, 1);
    // When the next event is handled, everything before it is.
    publish(2).await;
    assert_eq!(stock.next("the next event").await, 2);
    assert_eq!(
        mail.take("two events of mail", 2).await,
        [1, 2],
        "the replay is not for mail"
    );
    stock_worker.shutdown(DEADLINE).await;
    mail_worker.shutdown(DEADLINE).await;
    assert!(
        dead_letters(&transport).await.is_empty(),
        "a replayed dead letter is removed"
    );
    Ok(())
}

/// A message that is sent five times with one idempotency key, on five connections, is handled once. The workers have the
/// greatest settings that can be written.
pub async fn a_message_sent_again_with_its_idempotency_key_runs_once<H: Harness>(
    harness: &H,
) -> Outcome {
    let (reporter, mut reports) = report_channel();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let bus = job_bus(reporter.clone(), |_| async { Ok(()) });
        let greatest = |worker: Worker<_, _>| {
            worker
                .lease(Duration::MAX)
                .deduplication(Duration::MAX)
                .concurrency(NonZeroUsize::MAX)
                .configure::<Job>(|job| job.limit(NonZeroUsize::MAX))
        };
        workers.push(job_worker(connect(harness).await, bus, greatest).await);
    }
    for _ in 0..5 {
        let bus = client(connect(harness).await).await;
        execute(&bus.with_idempotency_key("once"), [(1, 1)]).await;
    }
    // Of the same ordering key: it is handled when everything before it is settled.
    execute(&client(connect(harness).await).await, [(1, 2)]).await;
    assert_eq!(reports.take("both", 2).await, [(1, 1), (1, 2)]);
    for worker in workers {
        worker.shutdown(DEADLINE).await;
    }
    assert_eq!(reports.rest(), [], "further calls");
    Ok(())
}

/// A worker keeps the message of a handler that takes longer than a lease, and the message behind it. When the handler
/// fails then, the message is tried again.
pub async fn a_handler_that_outlasts_its_lease_and_fails_is_tried_again<H: Harness>(
    harness: &H,
) -> Outcome {
    let (reporter, mut reports) = report_channel();
    let (crowd_reporter, mut crowds) = report_channel();
    let failed = Arc::new(AtomicBool::new(false));
    let running = Arc::new(AtomicUsize::new(0));
    let bus = || {
        let (failed, running) = (failed.clone(), running.clone());
        let crowd_reporter = crowd_reporter.clone();
        job_bus(reporter.clone(), move |_| {
            let _ = crowd_reporter.send(running.fetch_add(1, Ordering::SeqCst) + 1);
            let fails = !failed.swap(true, Ordering::SeqCst);
            let running = running.clone();
            async move {
                tokio::time::sleep(OUTLASTING).await;
                running.fetch_sub(1, Ordering::SeqCst);
                if fails { Err(rejected()) } else { Ok(()) }
            }
        })
    };
    let busy = job_worker(connect(harness).await, bus(), |w| {
        w.lease(SHORT)
            .configure::<Job>(|it| it.limit(NonZeroUsize::MIN))
    });
    let busy = busy.await;
    // The limit leaves room for both messages and no more, so the worker does not receive its own records again.
    execute(&client(connect(harness).await).await, [(1, 1), (2, 1)]).await;
    let mut came = vec![reports.next("the first attempt").await];
    let idle = job_worker(connect(harness).await, bus(), |w| w.lease(SHORT)).await;
    came.extend(reports.take("the other attempts", 2).await);
    came.sort_unstable();
    came.dedup();
    assert_eq!(came, [(1, 1), (2, 1)], "both, and the failed one twice");
    idle.shutdown(DEADLINE).await;
    busy.shutdown(DEADLINE).await;
    let crowds = crowds.rest();
    assert_eq!(
        crowds, [1; 3],
        "the number of running handlers when each attempt began"
    );
    Ok(())
}

/// Ten events whose handlers take longer than a lease are handled once each.
pub async fn ten_events_with_handlers_that_outlast_their_lease_run_ten_times<H: Harness>(
    harness: &H,
) -> Outcome {
    const HALF: NonZeroUsize = NonZeroUsize::new(5).unwrap();
    let (reporter, mut reports) = report_channel();
    let bus = || {
        let reporter = reporter.clone();
        BusBuilder::new()
            .subscribe_async_fn(move |event: &Happened| {
                let _ = reporter.send(event.number);
                async {
                    tokio::time::sleep(OUTLASTING).await;
                    Ok::<_, BusError>(())
                }
            })
            .build()
    };
    let worker = async || {
        let worker = Worker::new(connect(harness).await, bus()).event::<Happened>("slow");
        worker.lease(SHORT)
    };
    let busy = worker().await.configure::<Happened>(|it| it.limit(HALF));
    let busy = must("a worker starts", busy.start()).await;
    let bus = client(connect(harness).await).await;
    let events = (0..10).map(|number| Happened {
        key: number,
        number,
    });
    let sent = within("events", bus.publish_many(events)).await;
    sent.unwrap_or_else(|error| panic!("events: {error}"));
    // The limit leaves room for all ten and no more, so the worker does not receive its own records again.
    let mut came = reports.take("the first five", 5).await;
    let idle = must("a worker starts", worker().await.start()).await;
    came.extend(reports.take("the other five", 5).await);
    tokio::time::sleep(OUTLASTING).await;
    for worker in [idle, busy] {
        worker.shutdown(DEADLINE).await;
    }
    came.extend(reports.rest());
    came.sort_unstable();
    assert!(
        came.iter().copied().eq(0..10),
        "of ten events, {came:?} were handled"
    );
    Ok(())
}

/// The handler of an event that the handler of a command publishes gets the trace of the command, and the id of the
/// command as correlation and causation.
pub async fn trace_and_correlation_arrive<H: Harness>(harness: &H) -> Outcome {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ((reporter, mut commands), (event_reporter, mut events)) =
        (report_channel(), report_channel());
    let bus = BusBuilder::new()
        .subscribe_fn(move |_: &Happened| {
            let _ = event_reporter.send(current());
        })
        .build();
    let worker = Worker::new(connect(harness).await, bus).event::<Happened>("audit");
    let audit = must("a worker starts", worker.start()).await;
    let remote = client(connect(harness).await).await;
    let bus = BusBuilder::new()
        .register_command_async_fn(move |job: Job| {
            let _ = reporter.send(current());
            let remote = remote.clone();
            async move {
                let Job { key, number } = job;
                remote.publish_async(&Happened { key, number }).await
            }
        })
        .build();
    let jobs = job_worker(connect(harness).await, bus, |w| w).await;
    let bus = client(connect(harness).await).await;
    let traced = bus.with_trace(PARENT, Some("vendor=1".into()));
    execute(&traced, [(1, 1)]).await;
    let command = commands.next("the command").await.expect("its attributes");
    let event = events.next("the event").await.expect("its attributes");
    for (what, envelope) in [("command", &command), ("event", &event)] {
        let trace = (
            envelope.trace_parent.as_deref(),
            envelope.trace_state.as_deref(),
        );
        assert_eq!(
            trace,
            (Some(PARENT), Some("vendor=1")),
            "the {what}'s trace"
        );
    }
    let command_id = Some(&*command.id);
    assert_eq!(
        event.correlation_id.as_deref(),
        command_id,
        "the correlation"
    );
    assert_eq!(event.causation_id.as_deref(), command_id, "the causation");
    jobs.shutdown(DEADLINE).await;
    audit.shutdown(DEADLINE).await;
    Ok(())
}

/// A lease that a busy machine still renews in time: a renewal may be late by more than three seconds.
const SHORT: Duration = Duration::from_secs(5);
const OUTLASTING: Duration = Duration::from_secs(8);

fn rejected() -> BusError {
    BusError::rejected::<Job>("not this time")
}
