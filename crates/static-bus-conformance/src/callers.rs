//! Queries from client to handler: each ends with an answer, or with an error of the right kind.

use std::time::Duration;

use super::support::{
    LONG, SILENCE, append, connect,
    jobs::{Ask, Stranger, client},
    listen, must, topic, within,
};
use super::{Harness, Outcome};
use static_bus::asynchronous::{AsyncSendQuery, BusError};
use static_bus::message::Message;
use static_bus::prelude::*;
use static_bus_remote::{
    Envelope, Transport, Worker,
    transport::{Kind, Record, Topic},
};
use tokio::time::Instant;

/// A query whose receiver does not answer ends with a timeout, not before the time is over.
pub async fn a_query_that_nobody_answers_times_out<H: Harness>(harness: &H) -> Outcome {
    const WAIT: Duration = Duration::from_millis(400);
    let transport = connect(harness).await;
    let _silent = listen(&transport, &topic(Kind::Query, Ask::NAME), "silent").await;
    let bus = client(connect(harness).await).await.with_timeout(WAIT);
    let begun = Instant::now();
    let error = ask(&bus, 1).await.expect_err("no worker answers");
    assert!(
        begun.elapsed() >= WAIT,
        "a timeout after {:?}",
        begun.elapsed()
    );
    assert!(
        matches!(error, BusError::Timeout { after: WAIT, .. }),
        "not a timeout: {error}"
    );
    Ok(())
}

/// A query that no worker serves fails with `NoHandler` at once, or with a timeout if the engine does not know the
/// receivers. It is answered when a worker has started.
pub async fn a_query_that_no_worker_serves_has_no_handler<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let bus = client(connect(harness).await).await;
    if transport.receiver_grace().is_some() {
        let error = ask(&bus.with_timeout(LONG), 1).await;
        let error = error.expect_err("no worker serves it");
        assert!(
            matches!(error, BusError::NoHandler { message } if message == Ask::NAME),
            "not `NoHandler`: {error}"
        );
    }
    let worker = serve(transport).await;
    for bus in [&bus, &bus.with_timeout(Duration::MAX)] {
        let answer = within("an answer", ask(bus, 21)).await;
        assert_eq!(answer.ok(), Some(42), "when a worker runs");
    }
    worker.shutdown(SILENCE).await;
    Ok(())
}

/// A reply to a query that has timed out is dropped, and the next queries get their own replies.
pub async fn a_late_reply_is_dropped<H: Harness>(harness: &H) -> Outcome {
    let bus = client(connect(harness).await).await;
    let transport = connect(harness).await;
    // A worker that answers too late.
    let slow = listen(&transport, &topic(Kind::Query, Ask::NAME), "slow").await;
    // Long enough for the query to arrive, on a busy machine and where members first have to join.
    let hasty = bus.with_timeout(Duration::from_secs(6));
    let asking = tokio::spawn(async move { ask(&hasty, 1).await });
    let query = slow.take(1).await.remove(0);
    let error = within("the query times out", asking)
        .await
        .expect("no panic");
    assert!(
        matches!(error, Err(BusError::Timeout { .. })),
        "not a timeout: {error:?}"
    );
    slow.close().await;
    let query = Envelope::parse(&query.headers).expect("a query has its attributes");
    let to = Topic {
        kind: Kind::Reply,
        name: query
            .reply_to
            .clone()
            .expect("a query says where to reply")
            .into_owned()
            .into(),
    };
    let mut reply = Envelope::new("slow", &*query.message_type, &*query.content_type);
    reply.causation_id = Some(query.id.clone());
    let mut late = Record {
        headers: reply.headers(),
        body: "666".into(),
        ..Record::default()
    };
    late.headers.push("status", "answered");
    late.expires = None;
    append(&transport, &to, [late]).await;

    let worker = serve(transport).await;
    for number in 0..5 {
        let answer = ask(&bus, number).await;
        assert_eq!(
            answer.ok(),
            Some(2 * number),
            "the answer to query {number}"
        );
    }
    worker.shutdown(SILENCE).await;
    Ok(())
}

/// A query that reaches a worker without a handler for it fails with `NoHandler`.
pub async fn a_query_without_a_handler_fails_with_no_handler<H: Harness>(harness: &H) -> Outcome {
    let bus = client(connect(harness).await).await;
    let transport = connect(harness).await;
    let worker = serve(connect(harness).await).await;
    let lost = topic(Kind::Query, Stranger::NAME);
    let lost = listen(&transport, &lost, "lost").await;
    let asking = tokio::spawn(async move {
        let stranger = Stranger { key: 0, number: 1 };
        bus.send_async(stranger).await
    });
    // The query of one name in the topic of another.
    let query = (*lost.take(1).await[0]).clone();
    append(&transport, &topic(Kind::Query, Ask::NAME), [query]).await;
    let answer = within("the query ends", asking).await.expect("no panic");
    assert!(
        matches!(answer, Err(BusError::NoHandler { message }) if message == Stranger::NAME),
        "not `NoHandler`: {answer:?}"
    );
    worker.shutdown(SILENCE).await;
    Ok(())
}

/// A handler that panics fails its query, and the worker serves the next one.
pub async fn a_panic_in_a_handler_fails_its_query_only<H: Harness>(harness: &H) -> Outcome {
    let bus = client(connect(harness).await).await;
    let worker = serve(connect(harness).await).await;
    let error = ask(&bus, PANIC).await.expect_err("its handler panics");
    assert!(
        matches!(error, BusError::Remote { .. }),
        "not `Remote`: {error}"
    );
    assert!(
        error.to_string().contains("out of range"),
        "without the text of the panic: {error}"
    );
    assert_eq!(
        ask(&bus, 21).await.ok(),
        Some(42),
        "the answer to the next query"
    );
    worker.shutdown(SILENCE).await;
    Ok(())
}

const PANIC: u32 = 13;

async fn serve<T: Transport>(transport: T) -> static_bus_remote::WorkerHandle<T> {
    let bus = BusBuilder::new()
        .register_query_fn(|ask: Ask| {
            assert_ne!(ask.number, PANIC, "out of range");
            2 * ask.number
        })
        .build();
    must(
        "a worker starts",
        Worker::new(transport, bus).query::<Ask>().start(),
    )
    .await
}

async fn ask(bus: &impl AsyncSendQuery<Ask>, number: u32) -> Result<u32, BusError> {
    within("a query ends", bus.send_async(Ask { key: 0, number })).await
}
