//! The guarantees of the client.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery, BusError},
    prelude::*,
};
use static_bus_remote::{
    Codec, MemoryBroker, RemoteBus, Transport, TransportError, TransportErrorKind, Worker,
    transport::{Kind, RECEIVER_GRACE, Receiver, Record, Topic},
};
use tokio::{sync::Semaphore, time::Instant};

use crate::support::{
    Fault, LONG, MS, Op, SECOND, TestBroker, append, connect, listen, record, settled, silent,
    soon, until,
};

#[derive(Serialize, Deserialize)]
struct Double(u32);
query!(Double -> u32, name = "test.double");

#[derive(Serialize, Deserialize)]
struct Note(u32);
command!(Note, name = "test.note");

#[derive(Serialize, Deserialize)]
struct Noted(u32);
event!(Noted, name = "test.noted");

fn doubling() -> impl AsyncSendQuery<Double> + Send + 'static {
    BusBuilder::new()
        .register_query_fn(|query: Double| query.0 * 2)
        .build()
}

fn noting(tell: crate::support::Tell<u32>) -> impl AsyncExecuteCommand<Note> + Send + 'static {
    BusBuilder::new()
        .register_command_fn(move |note: Note| tell.send(note.0).unwrap())
        .build()
}

async fn failing<B>(broker: &TestBroker, bus: B) -> (BusError, TestBroker)
where
    B: AsyncSendQuery<Double> + Send + 'static,
{
    let worker = Worker::new(broker.clone(), bus).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(broker).await;
    let error = remote.send_async(Double(21)).await.unwrap_err();
    drop(worker);
    (error, broker.clone())
}

#[tokio::test(start_paused = true)]
async fn a_query_is_answered() {
    let broker = TestBroker::new();
    let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    for n in 0..100 {
        assert_eq!(remote.send_async(Double(n)).await.unwrap(), 2 * n);
    }
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn each_of_many_queries_gets_its_own_answer_in_either_format() {
    let broker = TestBroker::new();
    let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
    let worker = worker.start().await.unwrap();
    for codec in [Codec::Json, Codec::MessagePack] {
        let remote = RemoteBus::builder(broker.clone()).codec(codec);
        let remote = remote.connect().await.unwrap();
        let asking = (0..500).map(|n| {
            let remote = remote.clone();
            tokio::spawn(async move { (n, remote.send_async(Double(n)).await.unwrap()) })
        });
        for asking in asking.collect::<Vec<_>>() {
            let (n, answer) = asking.await.unwrap();
            assert_eq!(answer, 2 * n);
        }
    }
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_nobody_answers_times_out() {
    let broker = TestBroker::new();
    let _silent = silent(&broker, "test.double").await;
    let remote = connect(&broker).await.with_timeout(250 * MS);
    let begun = Instant::now();
    let error = remote.send_async(Double(1)).await.unwrap_err();
    assert!(begun.elapsed() >= 250 * MS);
    assert!(
        matches!(error, BusError::Timeout { message: "test.double", after } if after == 250 * MS),
        "{error}"
    );
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_query_that_no_worker_serves_fails_at_once() {
    let broker = TestBroker::new();
    let remote = connect(&broker).await;
    let begun = Instant::now();
    let error = remote.send_async(Double(1)).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(error.to_string(), "test.double: no worker serves it");
    assert!(matches!(error, BusError::NoHandler { .. }) && error.is_retryable());
    // Commands and events are accepted.
    remote.execute_async(Note(1)).await.unwrap();
    remote.publish_async(&Noted(1)).await.unwrap();

    let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
    let worker = worker.start().await.unwrap();
    assert_eq!(remote.send_async(Double(1)).await.unwrap(), 2);
    worker.shutdown(LONG).await;
    tokio::time::sleep(RECEIVER_GRACE).await;
    let error = remote.send_async(Double(1)).await.unwrap_err();
    assert!(matches!(error, BusError::NoHandler { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_sent_while_its_worker_restarts_is_answered() {
    let broker = TestBroker::new();
    let remote = connect(&broker).await.with_timeout(LONG);
    for crashes in [false, true] {
        let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
        let worker = worker.start().await.unwrap();
        match crashes {
            false => _ = worker.shutdown(SECOND).await,
            true => drop(worker),
        }
        tokio::time::sleep(RECEIVER_GRACE - SECOND).await;
        let (other, number) = (remote.clone(), u32::from(crashes));
        let asking = tokio::spawn(async move { other.send_async(Double(number)).await });
        until("it has left", async || {
            broker.appended(Kind::Query).len() == 1 + number as usize
        })
        .await;
        let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
        let worker = worker.start().await.unwrap();
        assert_eq!(asking.await.unwrap().unwrap(), 2 * number);
        worker.shutdown(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_refusal_of_one_record_says_nothing_about_the_next() {
    /// The largest number of records in one call.
    const BATCH: u32 = 512;
    for kind in [TransportErrorKind::NoReceiver, TransportErrorKind::TooLarge] {
        let broker = TestBroker::new();
        let remote = connect(&broker).await.with_timeout(LONG);
        broker.rule(move |op| match op {
            Op::Append(Kind::Event) => Fault::Late(SECOND),
            Op::Append(Kind::Query) => Fault::LateKind(10 * SECOND, kind),
            _ => Fault::None,
        });
        // While the first call is under way, queries gather for the next one, and a command for the one after it.
        let other = remote.clone();
        let publishing = tokio::spawn(async move { other.publish_async(&Noted(1)).await });
        until("it is under way", async || {
            broker.calls(Op::Append(Kind::Event)) == 1
        })
        .await;
        let asking = (0..BATCH).map(|n| {
            let other = remote.clone();
            tokio::spawn(async move { other.send_async(Double(n)).await })
        });
        let asking: Vec<_> = asking.collect();
        // The clock goes on when all of them wait.
        tokio::time::sleep(MS).await;
        remote.execute_async(Note(1)).await.unwrap();
        publishing.await.unwrap().unwrap();
        assert_eq!(broker.items(Op::Append(Kind::Query)), BATCH as usize);
        for asked in asking {
            asked.await.unwrap().unwrap_err();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_dropped_and_its_place_is_free() {
    let broker = TestBroker::new();
    let remote = RemoteBus::builder(broker.clone()).max_pending(1);
    let remote = remote.connect().await.unwrap().with_timeout(SECOND);
    broker.rule(|op| match op {
        Op::Append(Kind::Reply) => Fault::Late(10 * SECOND),
        _ => Fault::None,
    });
    let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
    let worker = worker.start().await.unwrap();
    let error = remote.send_async(Double(1)).await.unwrap_err();
    assert!(matches!(error, BusError::Timeout { .. }), "{error}");
    until("the answer has come", async || {
        broker.appended(Kind::Reply).len() == 1
    })
    .await;
    broker.mend();
    tokio::time::sleep(SECOND).await;
    // The next one gets its own answer: the limit of pending queries is not reached.
    assert_eq!(remote.send_async(Double(2)).await.unwrap(), 4);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn more_queries_than_may_wait_are_refused_and_a_dropped_one_frees_its_place() {
    let broker = TestBroker::new();
    let _silent = silent(&broker, "test.double").await;
    let remote = RemoteBus::builder(broker.clone()).max_pending(2);
    let remote = remote.connect().await.unwrap();
    let ask = |n| {
        let remote = remote.clone();
        tokio::spawn(async move { remote.send_async(Double(n)).await })
    };
    let (one, two) = (ask(1), ask(2));
    until("both have left", async || {
        broker.appended(Kind::Query).len() == 2
    })
    .await;
    let begun = Instant::now();
    let error = remote.send_async(Double(3)).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(
        error.to_string(),
        "test.double: the broker did not take it: test://broker: 2 queries wait for their answers \
         already: send fewer at a time, or raise `max_pending`"
    );
    assert!(error.is_retryable());
    assert_eq!(broker.appended(Kind::Query).len(), 2, "it was not sent");

    one.abort();
    assert!(one.await.unwrap_err().is_cancelled());
    let four = ask(4);
    until("it has left", async || {
        broker.appended(Kind::Query).len() == 3
    })
    .await;
    for waiting in [two, four] {
        let error = waiting.await.unwrap().unwrap_err();
        assert!(matches!(error, BusError::Timeout { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handlers_failure_is_a_remote_error_that_says_whether_to_retry() {
    let bus = BusBuilder::new()
        .register_query_async_fn(|_: Double| async { Err(BusError::rejected::<Double>("busy")) })
        .build();
    let (error, _) = failing(&TestBroker::new(), bus).await;
    assert_eq!(
        error.to_string(),
        "test.double: its handler failed remotely: test.double: its handler failed: busy"
    );
    assert!(matches!(error, BusError::Remote { .. }) && error.is_retryable());

    let bus = BusBuilder::new()
        .register_query_async_fn(|_: Double| async { Err(BusError::refused::<Double>("never")) })
        .build();
    let (error, _) = failing(&TestBroker::new(), bus).await;
    assert!(matches!(error, BusError::Remote { .. }) && !error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_handlers_panic_is_a_remote_error_and_the_worker_goes_on() {
    async fn at_once(query: Double) -> Result<u32, BusError> {
        assert_ne!(query.0, 21, "not 21");
        Ok(0)
    }
    async fn later(query: Double) -> Result<u32, BusError> {
        tokio::time::sleep(MS).await;
        at_once(query).await
    }
    let broker = TestBroker::new();
    let bus = BusBuilder::new().register_query_async_fn(at_once).build();
    let worker = Worker::new(broker.clone(), bus).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    let error = remote.send_async(Double(21)).await.unwrap_err();
    assert!(
        error.to_string().contains("its handler panicked:"),
        "{error}"
    );
    assert!(error.to_string().contains("not 21"), "{error}");
    assert!(matches!(error, BusError::Remote { .. }));
    assert_eq!(remote.send_async(Double(1)).await.unwrap(), 0);
    drop(worker);

    let bus = BusBuilder::new().register_query_async_fn(later).build();
    let (error, _) = failing(&TestBroker::new(), bus).await;
    assert!(error.to_string().contains("not 21"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_is_an_error_with_its_size_and_the_limit() {
    #[derive(Serialize, Deserialize)]
    struct Repeat(usize);
    query!(Repeat -> String, name = "test.repeat");
    const LIMIT: usize = 8192;
    let broker = MemoryBroker::builder().max_record(LIMIT).build();
    let bus = BusBuilder::new()
        .register_query_fn(|repeat: Repeat| "x".repeat(repeat.0))
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Repeat>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    let begun = Instant::now();
    let error = remote.send_async(Repeat(LIMIT)).await.unwrap_err();
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    let text = error.to_string();
    assert!(
        text.starts_with(
            "test.repeat: its handler failed remotely: its answer has 8194 bytes, and the broker does not accept \
             it: memory: the record of reply "
        ) && text.ends_with("and the limit is 8192: send less, or raise `max_record`"),
        "{text}"
    );
    assert!(matches!(error, BusError::Remote { .. }) && !error.is_retryable());
    assert_eq!(remote.send_async(Repeat(7)).await.unwrap(), "xxxxxxx");
    assert_eq!(worker.health().await.reasons, [""; 0]);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_error_of_a_query_is_cut_and_arrives() {
    let broker = TestBroker::around(MemoryBroker::builder().max_record(8192).build());
    let bus = BusBuilder::new()
        .register_query_async_fn(|_: Double| async {
            Err(BusError::refused::<Double>("x".repeat(1 << 20)))
        })
        .build();
    let (error, _) = failing(&broker, bus).await;
    let cut = format!("x… (cut: 4096 of {} bytes)", 33 + (1 << 20));
    assert!(error.to_string().ends_with(&cut), "{error}");
}

#[tokio::test(start_paused = true)]
async fn replies_that_the_broker_refuses_show_in_the_health_until_one_is_accepted() {
    let broker = TestBroker::new();
    let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    broker.fail(Op::Append(Kind::Reply), TransportErrorKind::Unauthorized, 1);
    let error = remote.send_async(Double(1)).await.unwrap_err();
    assert!(matches!(error, BusError::Timeout { .. }), "{error}");
    let health = worker.health().await;
    assert_eq!(
        health.reasons,
        ["query test.double: replies cannot be sent: test://broker: it is refused"]
    );
    assert_eq!(remote.send_async(Double(1)).await.unwrap(), 2);
    assert!(worker.health().await.ready);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_its_worker_cannot_read_is_a_remote_error() {
    #[derive(Serialize)]
    struct Newer(&'static str);
    query!(Newer -> u32, name = "test.double");
    let broker = TestBroker::new();
    let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    let error = remote.send_async(Newer("two")).await.unwrap_err();
    assert!(error.to_string().contains("it cannot be read: "), "{error}");
    assert!(matches!(error, BusError::Remote { .. }) && !error.is_retryable());
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_a_codec_error() {
    #[derive(Serialize)]
    struct Older(u32);
    query!(Older -> String, name = "test.double");
    let broker = TestBroker::new();
    let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    let error = remote.send_async(Older(2)).await.unwrap_err();
    assert!(matches!(error, BusError::Codec { .. }), "{error}");
    assert!(!error.is_retryable());
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_reaches_one_who_does_not_serve_it_has_no_handler() {
    #[derive(Serialize)]
    struct Stranger;
    query!(Stranger -> u32, name = "test.stranger");
    let broker = TestBroker::new();
    let _silent = silent(&broker, "test.stranger").await;
    let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    // A record in the wrong queue.
    let asking = tokio::spawn(async move { remote.send_async(Stranger).await });
    until("it has left", async || {
        broker.appended(Kind::Query).len() == 1
    })
    .await;
    append(
        &broker,
        Kind::Query,
        "test.double",
        broker.only(Kind::Query),
    )
    .await;
    let error = asking.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            BusError::NoHandler {
                message: "test.stranger"
            }
        ),
        "{error}"
    );
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_is_a_transport_error() {
    let broker = TestBroker::new();
    let remote = connect(&broker).await;
    broker.break_(|op| matches!(op, Op::Append(_)));
    let errors = [
        remote.send_async(Double(1)).await.unwrap_err(),
        remote.execute_async(Note(1)).await.unwrap_err(),
        remote.publish_async(&Noted(1)).await.unwrap_err(),
        remote.execute_many([Note(1)]).await.unwrap_err(),
        remote.publish_many([Noted(1)]).await.unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(matches!(error, BusError::Transport { .. }), "{text}");
        assert!(error.is_retryable());
        assert!(
            text.ends_with(": the broker did not take it: test://broker: the connection is broken"),
            "{text}"
        );
    }
    broker.fail(Op::Append(Kind::Command), TransportErrorKind::TooLarge, 2);
    for error in [
        remote.execute_async(Note(1)).await.unwrap_err(),
        remote.execute_many([Note(1)]).await.unwrap_err(),
    ] {
        let BusError::Transport { source, .. } = error else {
            panic!("{error}");
        };
        let error = source.downcast_ref::<TransportError>().unwrap();
        assert_eq!(error.kind(), TransportErrorKind::TooLarge);
    }
    broker.break_(|op| op == Op::Check);
    assert!(remote.ready().await.is_err());
    assert!(RemoteBus::connect(broker.clone()).await.is_err());
    broker.mend();
    remote.ready().await.unwrap();
}

#[test]
fn a_bus_whose_runtime_is_gone_says_so_at_once() {
    const GONE: &str = ": the broker did not take it: test://broker: the tokio runtime on which this was connected \
                        has shut down: connect again";
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let broker = TestBroker::new();
    let connected = runtime();
    let (remote, _silent) = connected.block_on(async {
        let remote = connect(&broker).await.with_timeout(2 * LONG);
        (remote, silent(&broker, "test.double").await)
    });
    let sender = runtime();
    let begun = std::time::Instant::now();
    // One waits for its answer, one is being sent, and one is in the queue.
    let ask = |n| {
        let remote = remote.clone();
        sender.spawn(async move { remote.send_async(Double(n)).await.unwrap_err() })
    };
    let waiting = ask(1);
    sender.block_on(until("the query has left", async || {
        broker.appended(Kind::Query).len() == 1
    }));
    broker.rule(|_| Fault::Hang);
    let sending = ask(2);
    sender.block_on(until("it is being sent", async || {
        broker.calls(Op::Append(Kind::Query)) == 2
    }));
    let note = remote.clone();
    let queued = sender.spawn(async move { note.execute_async(Note(1)).await.unwrap_err() });
    let asked = ask(3);
    drop(connected);
    let errors = sender.block_on(async {
        [
            waiting.await.unwrap(),
            sending.await.unwrap(),
            queued.await.unwrap(),
            asked.await.unwrap(),
            remote.send_async(Double(4)).await.unwrap_err(),
            remote.execute_async(Note(2)).await.unwrap_err(),
            remote.publish_async(&Noted(3)).await.unwrap_err(),
        ]
    });
    for error in errors {
        assert!(error.to_string().ends_with(GONE), "{error}");
        let BusError::Transport { source, .. } = error else {
            panic!("{error}");
        };
        let error = source.downcast_ref::<TransportError>().unwrap();
        assert_eq!(error.kind(), TransportErrorKind::Closed);
    }
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
}

// ----- deadlines; those in the attributes of records are by the system clock

#[tokio::test(start_paused = true)]
async fn a_query_whose_caller_has_another_clock_has_the_time_that_the_broker_says() {
    let broker = TestBroker::new();
    let bus = BusBuilder::new()
        .register_query_async_fn(|query: Double| async move {
            tokio::time::sleep(Duration::from_secs(u64::from(query.0))).await;
            Ok(0)
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Double>();
    let worker = worker.start().await.unwrap();
    let hour = 3600 * SECOND;
    let now = jiff::Timestamp::now();
    for deadline in [now - hour, now + hour] {
        // One takes less than the time that it has, one takes more.
        for (takes, status) in [("3", "answered"), ("30", "failed")] {
            let mut query = record("test.double", takes, |envelope| {
                envelope.deadline = Some(deadline);
                envelope.reply_to = Some("caller".into());
            });
            query.expires = Some(10 * SECOND);
            let before = broker.appended(Kind::Reply).len();
            let begun = Instant::now();
            append(&broker, Kind::Query, "test.double", query).await;
            until("there is a reply", async || {
                broker.appended(Kind::Reply).len() > before
            })
            .await;
            let reply = broker.appended(Kind::Reply).pop().unwrap();
            assert_eq!(reply.headers.get("status").as_deref(), Some(status));
            assert!(begun.elapsed() < 11 * SECOND, "{:?}", begun.elapsed());
        }
    }
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_query_past_its_deadline_is_dropped_and_not_run() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_query_fn(move |query: Double| {
            tell.send(query.0).unwrap();
            0
        })
        .build();
    let _silent = silent(&broker, "test.double").await;
    let now = jiff::Timestamp::now();
    for (body, deadline) in [("1", now - SECOND), ("2", now + LONG)] {
        let late = record("test.double", body, |envelope| {
            envelope.deadline = Some(deadline);
            envelope.reply_to = Some("caller".into());
        });
        append(&broker, Kind::Query, "test.double", late).await;
    }
    let worker = Worker::new(broker.clone(), bus).query::<Double>();
    let worker = worker.start().await.unwrap();
    assert_eq!(heard.next().await, 2);
    worker.shutdown(LONG).await;
    heard.is_silent();
    assert_eq!(broker.appended(Kind::Reply).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_runs_no_longer_than_its_caller_waits() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_query_async_fn(move |_: Double| {
            let dropped = Dropped(tell.clone());
            async move {
                std::future::pending::<()>().await;
                drop(dropped);
                Ok(0)
            }
        })
        .build();
    struct Dropped(crate::support::Tell<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let worker = Worker::new(broker.clone(), bus).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await.with_timeout(SECOND);
    let error = remote.send_async(Double(1)).await.unwrap_err();
    assert!(matches!(error, BusError::Timeout { .. }), "{error}");
    heard.next().await;
    until("it says so", async || {
        broker.appended(Kind::Reply).len() == 1
    })
    .await;
    let reply = broker.only(Kind::Reply);
    assert_eq!(reply.headers.get("status").as_deref(), Some("failed"));
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_nested_query_inherits_what_is_left_of_its_callers_time() {
    #[derive(Serialize, Deserialize)]
    struct Outer;
    query!(Outer -> u32, name = "test.outer");
    let broker = TestBroker::new();
    let _silent = silent(&broker, "test.double").await;
    // Its own limit is much greater.
    let nested = connect(&broker).await.with_timeout(1000 * SECOND);
    let bus = BusBuilder::new()
        .register_query_async_fn(move |_: Outer| {
            let nested = nested.clone();
            async move { nested.send_async(Double(1)).await }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Outer>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await.with_timeout(100 * SECOND);
    let error = remote.send_async(Outer).await.unwrap_err();
    assert!(
        matches!(error, BusError::Timeout { .. } | BusError::Remote { .. }),
        "{error}"
    );
    let deadlines: Vec<jiff::Timestamp> = broker
        .appended(Kind::Query)
        .iter()
        .map(|query| query.headers.get("deadline").unwrap().parse().unwrap())
        .collect();
    let [outer, inner] = deadlines[..] else {
        panic!("{deadlines:?}")
    };
    let apart = inner.duration_since(outer).unsigned_abs();
    assert!(apart < 10 * SECOND, "{outer} and {inner}");
    drop(worker);
}

// ----- batches

#[tokio::test(start_paused = true)]
async fn a_batch_is_accepted_in_order_and_in_few_calls() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = connect(&broker).await;
    remote.execute_many((0..2500).map(Note)).await.unwrap();
    assert_eq!(broker.calls(Op::Append(Kind::Command)), 3);
    let worker = Worker::new(broker.clone(), noting(tell)).command::<Note>();
    let worker = worker.start().await.unwrap();
    assert_eq!(heard.take(2500).await, (0..2500).collect::<Vec<_>>());
    remote.execute_many::<Note>([]).await.unwrap();
    assert_eq!(broker.calls(Op::Append(Kind::Command)), 3);

    remote.publish_many((0..1001).map(Noted)).await.unwrap();
    assert_eq!(broker.calls(Op::Append(Kind::Event)), 2);
    let bodies = broker.appended(Kind::Event);
    let bodies = bodies.iter().map(|record| record.body.clone());
    let expected = (0..1001).map(|n| bytes::Bytes::from(n.to_string()));
    assert!(bodies.eq(expected));
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn concurrent_queries_are_one_call_and_so_are_their_replies() {
    let broker = TestBroker::new();
    let worker = Worker::new(broker.clone(), doubling()).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    let asking: Vec<_> = (0..64)
        .map(|number| {
            let remote = remote.clone();
            tokio::spawn(async move {
                assert_eq!(remote.send_async(Double(number)).await.unwrap(), 2 * number);
            })
        })
        .collect();
    for asked in asking {
        asked.await.unwrap();
    }
    for kind in [Kind::Query, Kind::Reply] {
        assert_eq!(broker.items(Op::Append(kind)), 64);
        assert_eq!(broker.calls(Op::Append(kind)), 1);
    }
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_a_key_can_be_sent_again_and_runs_once() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let worker = Worker::new(broker.clone(), noting(tell)).command::<Note>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    let keyed = remote.with_idempotency_key("import 7");
    // At the first attempt the connection breaks during the batch.
    let mut left = 150;
    broker.rule(move |op| match op {
        Op::Append(Kind::Command) if left > 0 => {
            left -= 1;
            Fault::None
        }
        Op::Append(Kind::Command) => Fault::After,
        _ => Fault::None,
    });
    assert!(keyed.execute_many((0..200).map(Note)).await.is_err());
    broker.mend();
    keyed.execute_many((0..200).map(Note)).await.unwrap();
    settled(&broker, Kind::Command, "test.note", "handlers").await;
    let mut notes = heard.rest();
    notes.sort();
    assert_eq!(notes, (0..200).collect::<Vec<_>>());

    // Without an idempotency key they are different messages.
    remote.execute_many((0..200).map(Note)).await.unwrap();
    heard.take(200).await;
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_one_by_one_is_gathered_into_few_calls() {
    let broker = TestBroker::new();
    let remote = connect(&broker).await;
    broker.rule(|op| match op {
        Op::Append(_) => Fault::Late(MS),
        _ => Fault::None,
    });
    let sending = (0..1000).map(|n| {
        let remote = remote.clone();
        tokio::spawn(async move { remote.execute_async(Note(n)).await.unwrap() })
    });
    for sent in sending.collect::<Vec<_>>() {
        sent.await.unwrap();
    }
    let calls = broker.calls(Op::Append(Kind::Command));
    assert_eq!(broker.items(Op::Append(Kind::Command)), 1000);
    assert!(calls <= 4, "{calls} calls");
    // A single message is sent at once.
    remote.execute_async(Note(0)).await.unwrap();
    assert_eq!(broker.calls(Op::Append(Kind::Command)), calls + 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_broker_refuses_some_of_what_was_gathered_only_their_senders_hear_of_it() {
    let broker = TestBroker::new();
    let remote = connect(&broker).await;
    let mut turn = 0;
    broker.rule(move |op| match op {
        Op::Append(_) => {
            turn += 1;
            if turn % 2 == 0 {
                Fault::Before
            } else {
                Fault::None
            }
        }
        _ => Fault::None,
    });
    let sending = (0..100).map(|n| {
        let remote = remote.clone();
        tokio::spawn(async move { (n, remote.execute_async(Note(n)).await.is_ok()) })
    });
    let mut accepted = Vec::new();
    for sent in sending.collect::<Vec<_>>() {
        let (n, ok) = sent.await.unwrap();
        if ok {
            accepted.push(n.to_string());
        }
    }
    let mut there: Vec<_> = broker
        .appended(Kind::Command)
        .iter()
        .map(|record| String::from_utf8(record.body.to_vec()).unwrap())
        .collect();
    accepted.sort();
    there.sort();
    assert_eq!(there, accepted);
    assert_eq!(there.len(), 50);
}

// ----- receivers

#[tokio::test(start_paused = true)]
async fn commands_sent_before_there_is_a_worker_are_handled() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let remote = connect(&broker).await;
    for n in 0..10 {
        remote.execute_async(Note(n)).await.unwrap();
    }
    let worker = Worker::new(broker.clone(), noting(tell)).command::<Note>();
    let worker = worker.start().await.unwrap();
    assert_eq!(heard.take(10).await, (0..10).collect::<Vec<_>>());
    drop(worker);
}

fn hearing(tell: crate::support::Tell<u32>) -> impl AsyncPublishEvent<Noted> + Send + 'static {
    BusBuilder::new()
        .subscribe_fn(move |noted: &Noted| tell.send(noted.0).unwrap())
        .build()
}

#[tokio::test(start_paused = true)]
async fn each_subscriber_gets_everything_since_it_was_first_started() {
    let broker = MemoryBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let remote = connect(&broker).await;
    remote.publish_async(&Noted(0)).await.unwrap();
    let worker = |tell, name| Worker::new(broker.clone(), hearing(tell)).event::<Noted>(name);
    let first = worker(tell_one.clone(), "one").start().await.unwrap();
    remote.publish_async(&Noted(1)).await.unwrap();
    let second = worker(tell_two, "two").start().await.unwrap();
    remote.publish_async(&Noted(2)).await.unwrap();
    assert_eq!(one.take(2).await, [1, 2]);
    assert_eq!(two.take(1).await, [2]);
    // Also while it has no worker.
    first.shutdown(LONG).await;
    remote.publish_async(&Noted(3)).await.unwrap();
    assert_eq!(two.take(1).await, [3]);
    let first = worker(tell_one, "one").start().await.unwrap();
    assert_eq!(one.take(1).await, [3]);
    first.shutdown(LONG).await;
    second.shutdown(LONG).await;
    one.is_silent();
    two.is_silent();
}

#[tokio::test(start_paused = true)]
async fn two_subscribers_in_one_worker_each_get_everything() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let worker = Worker::new(broker.clone(), hearing(tell))
        .event::<Noted>("one")
        .event::<Noted>("two");
    let worker = worker.start().await.unwrap();
    connect(&broker)
        .await
        .publish_async(&Noted(1))
        .await
        .unwrap();
    assert_eq!(heard.take(2).await, [1, 1]);
    worker.shutdown(LONG).await;
    heard.is_silent();
}

#[tokio::test(start_paused = true)]
async fn when_the_last_clone_is_dropped_its_reply_channel_is_closed() {
    let broker = TestBroker::new();
    let _silent = silent(&broker, "test.double").await;
    let remote = connect(&broker).await;
    let other = remote.clone();
    let asking = tokio::spawn(async move { other.send_async(Double(1)).await });
    until("it has left", async || {
        broker.appended(Kind::Query).len() == 1
    })
    .await;
    let address = broker
        .only(Kind::Query)
        .headers
        .get("replyto")
        .unwrap()
        .into_owned();
    drop(remote);
    assert!(asking.await.unwrap().is_err());
    until("it is closed", async || broker.calls(Op::Close) == 1).await;
    // No worker receives these.
    let topic = Topic {
        kind: Kind::Reply,
        name: address.into(),
    };
    let record = Record::default();
    broker
        .append(vec![(topic.clone(), record)])
        .await
        .remove(0)
        .unwrap();
    let replies = broker.listen(topic).await.unwrap();
    let received = soon("the record comes", replies.receive(1, LONG))
        .await
        .unwrap();
    assert_eq!(received.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn replies_are_received_again_when_the_connection_is_back() {
    let broker = TestBroker::new();
    let go = Arc::new(Semaphore::new(0));
    let gate = go.clone();
    let bus = BusBuilder::new()
        .register_query_async_fn(move |query: Double| {
            let go = gate.clone();
            async move {
                go.acquire().await.unwrap().forget();
                Ok(query.0 * 2)
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Double>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await.with_timeout(LONG);
    let asking = tokio::spawn(async move { remote.send_async(Double(21)).await });
    until("it has left", async || {
        broker.appended(Kind::Query).len() == 1
    })
    .await;
    broker.break_(|op| op == Op::Receive(Kind::Reply));
    // The pending call continues for some time.
    tokio::time::sleep(10 * SECOND).await;
    let calls = broker.calls(Op::Receive(Kind::Reply));
    tokio::time::sleep(10 * SECOND).await;
    let calls = broker.calls(Op::Receive(Kind::Reply)) - calls;
    assert!((4..=100).contains(&calls), "{calls} attempts in 10 s");
    go.add_permits(1);
    broker.mend();
    assert_eq!(asking.await.unwrap().unwrap(), 42);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_while_the_broker_hangs_is_refused_soon_and_takes_bounded_room() {
    const HANG: Duration = Duration::from_secs(5);
    let broker = TestBroker::new();
    let remote = connect(&broker).await;
    // Like an engine: no answer until its deadline, then an error.
    broker.rule(|op| match op {
        Op::Append(Kind::Command) => Fault::NoAnswer(HANG),
        _ => Fault::None,
    });
    let start = Instant::now();
    let senders: Vec<_> = (0..20_000)
        .map(|number| {
            let remote = remote.clone();
            tokio::spawn(async move { remote.execute_async(Note(number)).await })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap().unwrap_err();
    }
    // One call without an answer for the first record, and one for the later ones, not one for each batch.
    assert!(start.elapsed() <= 4 * HANG, "{:?}", start.elapsed());
    assert!(broker.items(Op::Append(Kind::Command)) < 2_000);
    broker.mend();
    remote.execute_async(Note(0)).await.unwrap();
}
