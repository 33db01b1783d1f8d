//! Commands and events from sender to handler: handled until they succeed, once, in the order of their key.

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
    jobs::{Happened, Job, buried, caller, doing, execute, letters, listen, quick, work},
    must, topic, within,
};
use super::{Harness, Outcome};
use static_bus::asynchronous::{AsyncPublishEvent, BusError};
use static_bus::message::Message;
use static_bus::prelude::*;
use static_bus_remote::{
    Codec, DeadLetters, Envelope, Worker, current,
    transport::{Kind, Record},
};

/// A message whose handler failed comes again, and the next of its key waits for it.
pub async fn a_failed_message_comes_again_before_the_next_of_its_key<H: Harness>(
    harness: &H,
) -> Outcome {
    let (tell, mut heard) = listen();
    let failures = Arc::new(AtomicUsize::new(3));
    let mut workers = Vec::new();
    for _ in 0..2 {
        let failures = failures.clone();
        let bus = doing(tell.clone(), move |job: Job| {
            let fails = job.number == 0
                && failures
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok();
            async move { if fails { Err(no()) } else { Ok(()) } }
        });
        workers.push(work(connect(harness).await, bus, |w| w).await);
    }
    execute(
        &caller(connect(harness).await).await,
        (0..3).map(|n| (1, n)),
    )
    .await;
    let came = heard.take("the failed one and those behind it", 6).await;
    let numbers: Vec<_> = came.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [0, 0, 0, 0, 1, 2], "the first fails three times");
    for worker in workers {
        worker.shutdown(DEADLINE).await;
    }
    Ok(())
}

/// After a hundred failures all messages are handled, and none is buried.
pub async fn a_hundred_failed_messages_are_all_handled<H: Harness>(harness: &H) -> Outcome {
    let (tell, mut heard) = listen();
    let failed = Arc::new(Mutex::new(BTreeSet::new()));
    let bus = doing(tell, move |job: Job| {
        let first = failed.lock().expect("no handler panics").insert(job.number);
        async move { if first { Err(no()) } else { Ok(()) } }
    });
    let transport = connect(harness).await;
    let worker = work(connect(harness).await, bus, |w| w).await;
    execute(
        &caller(connect(harness).await).await,
        (0..100).map(|n| (n % 10, n)),
    )
    .await;
    let mut came: Vec<_> = heard.take("a hundred messages, twice", 200).await;
    worker.shutdown(DEADLINE).await;
    came.extend(heard.rest());
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
    let letters = letters(&transport).await;
    assert!(letters.is_empty(), "{} are buried", letters.len());
    Ok(())
}

/// What still runs when a worker's time to close is over is cancelled; another worker handles it, and all
/// that the first had not begun.
pub async fn what_runs_when_a_worker_closes_is_cancelled_and_handled_by_another<H: Harness>(
    harness: &H,
) -> Outcome {
    const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();
    let ((tell, mut first), (tell_other, mut second)) = (listen(), listen());
    let running = Arc::new(());
    let inside = running.clone();
    let bus = doing(tell, move |_| {
        let inside = inside.clone();
        async move {
            std::future::pending::<()>().await;
            drop(inside);
            Ok(())
        }
    });
    let worker = work(connect(harness).await, bus, |w| {
        w.limit::<Job>(TWO).lease(LONG)
    })
    .await;
    execute(
        &caller(connect(harness).await).await,
        (0..10).map(|n| (n, n)),
    )
    .await;
    first.take("two begin", 2).await;
    let other = doing(tell_other, |_| async { Ok(()) });
    let closed = within("the worker closes", worker.shutdown(SILENCE)).await;
    assert_eq!(closed.cancelled, 2, "what still ran: {closed:?}");
    // The bus is gone with its lanes, and the handlers that ran with it.
    within("the handlers are dropped", async {
        while Arc::strong_count(&running) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let other = work(connect(harness).await, other, |w| w).await;
    let mut came = second.take("the other handles all", 10).await;
    other.shutdown(DEADLINE).await;
    came.extend(second.rest());
    came.sort_unstable();
    assert!(came.into_iter().eq((0..10).map(|n| (n, n))), "each once");
    Ok(())
}

/// A message that no handler can read becomes a dead letter, as it was sent, and those behind it are
/// handled, also those of its key.
pub async fn a_message_that_cannot_be_read_is_buried_and_blocks_nobody<H: Harness>(
    harness: &H,
) -> Outcome {
    let (tell, mut heard) = listen();
    let transport = connect(harness).await;
    let poison = Record {
        headers: Envelope::new("elsewhere", Job::NAME, Codec::Json.content_type()).headers(),
        body: "{not a job".into(),
        key: Some("1".into()),
        expires: None,
    };
    append(
        &transport,
        &topic(Kind::Command, Job::NAME),
        [poison.clone()],
    )
    .await;
    execute(
        &caller(connect(harness).await).await,
        [(1, 1), (1, 2), (2, 3)],
    )
    .await;
    let bus = doing(tell, |_| async { Ok(()) });
    let worker = work(connect(harness).await, bus, |w| w).await;
    let mut came = heard.take("those behind it", 3).await;
    came.sort_unstable();
    assert_eq!(came, [(1, 1), (1, 2), (2, 3)]);
    let letters = buried(&transport, 1).await;
    assert_eq!(letters.len(), 1, "dead letters");
    assert_eq!(letters[0].record, poison, "the message as it was sent");
    assert_eq!(letters[0].origin, "command conformance.job");
    worker.shutdown(DEADLINE).await;
    Ok(())
}

/// A dead letter says what failed, where and why, and is replayed to the group that failed, and to no other.
pub async fn a_dead_letter_is_whole_and_goes_back_to_the_group_that_failed<H: Harness>(
    harness: &H,
) -> Outcome {
    let ((tell, mut stock), (tell_other, mut mail)) = (listen(), listen());
    let fails = Arc::new(AtomicBool::new(true));
    let failing = fails.clone();
    let bus = BusBuilder::new()
        .subscribe_async_fn(move |event: &Happened| {
            let _ = tell.send(event.number);
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
            let _ = tell_other.send(event.number);
        })
        .build();
    let worker = Worker::new(connect(harness).await, bus).event::<Happened>("mail");
    let mail_worker = must("a worker starts", worker.start()).await;

    let bus = caller(connect(harness).await).await;
    let publish = async |number| {
        let sent = bus.publish_async(&Happened { key: 7, number }).await;
        sent.unwrap_or_else(|error| panic!("an event: {error}"));
    };
    publish(1).await;
    assert_eq!(stock.take("three attempts", 3).await, [1, 1, 1]);
    let transport = connect(harness).await;
    let letter = buried(&transport, 1).await.remove(0);
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
    must("replay", replay.replay(&letter)).await;
    assert_eq!(stock.next("the replayed event").await, 1);
    // What comes after it has everything before it handled.
    publish(2).await;
    assert_eq!(stock.next("the next event").await, 2);
    assert_eq!(
        mail.take("what mail gets", 2).await,
        [1, 2],
        "mail gets no replay"
    );
    stock_worker.shutdown(DEADLINE).await;
    mail_worker.shutdown(DEADLINE).await;
    assert!(
        letters(&transport).await.is_empty(),
        "a replayed one is gone"
    );
    Ok(())
}

/// A message that its producer sends again with its idempotency key, on another connection too, runs once.
pub async fn a_message_sent_again_with_its_idempotency_key_runs_once<H: Harness>(
    harness: &H,
) -> Outcome {
    let (tell, mut heard) = listen();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let bus = doing(tell.clone(), |_| async { Ok(()) });
        workers.push(work(connect(harness).await, bus, |w| w).await);
    }
    for _ in 0..5 {
        let bus = caller(connect(harness).await).await;
        execute(&bus.with_idempotency_key("once"), [(1, 1)]).await;
    }
    // Of the same key: it is handled when everything before it is settled.
    execute(&caller(connect(harness).await).await, [(1, 2)]).await;
    assert_eq!(heard.take("both", 2).await, [(1, 1), (1, 2)]);
    for worker in workers {
        worker.shutdown(DEADLINE).await;
    }
    assert_eq!(heard.rest(), [], "what else ran");
    Ok(())
}

/// A handler that takes longer than a lease keeps its message, and that behind it, and when it fails then,
/// is tried again.
pub async fn a_handler_that_outlasts_its_lease_and_fails_is_tried_again<H: Harness>(
    harness: &H,
) -> Outcome {
    let (tell, mut heard) = listen();
    let (tell_crowd, mut crowds) = listen();
    let failed = Arc::new(AtomicBool::new(false));
    let running = Arc::new(AtomicUsize::new(0));
    let bus = || {
        let (failed, running) = (failed.clone(), running.clone());
        let tell_crowd = tell_crowd.clone();
        doing(tell.clone(), move |_| {
            let _ = tell_crowd.send(running.fetch_add(1, Ordering::SeqCst) + 1);
            let fails = !failed.swap(true, Ordering::SeqCst);
            let running = running.clone();
            async move {
                tokio::time::sleep(OUTLASTING).await;
                running.fetch_sub(1, Ordering::SeqCst);
                if fails { Err(no()) } else { Ok(()) }
            }
        })
    };
    let busy = work(connect(harness).await, bus(), |w| {
        w.lease(SHORT).limit::<Job>(NonZeroUsize::MIN)
    });
    let busy = busy.await;
    // It has room for both, and for no more: it does not ask for what it has.
    execute(&caller(connect(harness).await).await, [(1, 1), (2, 1)]).await;
    let mut came = vec![heard.next("the first attempt").await];
    let idle = work(connect(harness).await, bus(), |w| w.lease(SHORT)).await;
    came.extend(heard.take("the other attempts", 2).await);
    came.sort_unstable();
    came.dedup();
    assert_eq!(came, [(1, 1), (2, 1)], "both ran, and one of them twice");
    idle.shutdown(DEADLINE).await;
    busy.shutdown(DEADLINE).await;
    let crowds = crowds.rest();
    assert_eq!(crowds, [1; 3], "how many ran when each attempt began");
    Ok(())
}

/// Ten events whose handlers take longer than a lease run ten times.
pub async fn ten_events_with_handlers_that_outlast_their_lease_run_ten_times<H: Harness>(
    harness: &H,
) -> Outcome {
    const HALF: NonZeroUsize = NonZeroUsize::new(5).unwrap();
    let (tell, mut heard) = listen();
    let bus = || {
        let tell = tell.clone();
        BusBuilder::new()
            .subscribe_async_fn(move |event: &Happened| {
                let _ = tell.send(event.number);
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
    let busy = worker().await.limit::<Happened>(HALF);
    let busy = must("a worker starts", busy.start()).await;
    let bus = caller(connect(harness).await).await;
    let events = (0..10).map(|number| Happened {
        key: number,
        number,
    });
    let sent = within("events", bus.publish_many(events)).await;
    sent.unwrap_or_else(|error| panic!("events: {error}"));
    // It has room for all ten, and for no more: it does not ask for what it has.
    let mut came = heard.take("the first five", 5).await;
    let idle = must("a worker starts", worker().await.start()).await;
    came.extend(heard.take("the other five", 5).await);
    tokio::time::sleep(OUTLASTING).await;
    for worker in [idle, busy] {
        worker.shutdown(DEADLINE).await;
    }
    came.extend(heard.rest());
    came.sort_unstable();
    assert!(
        came.iter().copied().eq(0..10),
        "ten events, and {came:?} ran"
    );
    Ok(())
}

/// The trace of a command and the message that began it all are known to the handler of an event that the
/// command's handler publishes.
pub async fn trace_and_correlation_arrive<H: Harness>(harness: &H) -> Outcome {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ((tell, mut commands), (tell_event, mut events)) = (listen(), listen());
    let bus = BusBuilder::new()
        .subscribe_fn(move |_: &Happened| {
            let _ = tell_event.send(current());
        })
        .build();
    let worker = Worker::new(connect(harness).await, bus).event::<Happened>("told");
    let told = must("a worker starts", worker.start()).await;
    let remote = caller(connect(harness).await).await;
    let bus = BusBuilder::new()
        .register_command_async_fn(move |job: Job| {
            let _ = tell.send(current());
            let remote = remote.clone();
            async move {
                let Job { key, number } = job;
                remote.publish_async(&Happened { key, number }).await
            }
        })
        .build();
    let doing = work(connect(harness).await, bus, |w| w).await;
    let bus = caller(connect(harness).await).await;
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
    let began = Some(&*command.id);
    assert_eq!(event.correlation_id.as_deref(), began, "what began it all");
    assert_eq!(
        event.causation_id.as_deref(),
        began,
        "what caused the event"
    );
    doing.shutdown(DEADLINE).await;
    told.shutdown(DEADLINE).await;
    Ok(())
}

/// A lease that a busy machine still renews in time.
const SHORT: Duration = Duration::from_secs(3);
const OUTLASTING: Duration = Duration::from_secs(5);

fn no() -> BusError {
    BusError::rejected::<Job>("not this time")
}
