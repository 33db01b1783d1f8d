//! The limit of the size of a record, for engines that have one.

use serde::{Deserialize, Serialize};
use static_bus::asynchronous::{AsyncExecuteCommand, AsyncSendQuery, BusError};
use static_bus::prelude::*;
use static_bus_remote::{
    TransportErrorKind, Worker,
    transport::{Kind, Record, Transport},
};

use super::support::{
    DEADLINE, connect,
    jobs::{client, report_channel, wait_for_dead_letters},
    must, read, record, topic, within,
};
use super::{Harness, Outcome};

/// The part of the limit that is left to the headers, the key and the additions of the broker.
const OVERHEAD: usize = 1024;

/// A command with an ordering key, of any size.
#[derive(Serialize, Deserialize)]
struct Load {
    key: u32,
    text: String,
}
command!(Load, name = "conformance.load", key = key);

/// A query for an answer of this size.
#[derive(Serialize, Deserialize)]
struct Repeat(usize);
query!(Repeat -> String, name = "conformance.repeat");

/// A record that exceeds the limit is refused with `TooLarge`, also as one of several in an append. The others are
/// accepted, and so is one just below the limit.
///
/// Fails for an engine that refuses the whole append, or that takes a refusal for its size as an outage.
pub async fn a_record_above_the_limit_is_refused_and_no_other<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let Some(limit) = transport.max_record() else {
        return Ok(());
    };
    for kind in [Kind::Query, Kind::Reply, Kind::Command, Kind::Event] {
        let topic = topic(kind, "large");
        let reader = read(&transport, &topic, "reader").await;
        let sizes = [1, limit - OVERHEAD, limit + 1, 1];
        let records = sizes.map(|size| {
            let body = vec![b'x'; size].into();
            (topic.clone(), Record { body, ..record(0) })
        });
        let results = within("append", transport.append(records.into())).await;
        for (size, result) in sizes.into_iter().zip(results) {
            let refused = result.map_err(|error| {
                let kind = error.kind();
                assert_eq!(kind, TransportErrorKind::TooLarge, "{size} bytes: {error}");
            });
            assert_eq!(refused.is_err(), size > limit, "{topic}, {size} bytes");
        }
        let came = reader.take(3).await;
        let mut came: Vec<_> = came.iter().map(|record| record.body.len()).collect();
        came.sort_unstable();
        assert_eq!(came, [1, 1, limit - OVERHEAD], "{topic}");
    }
    Ok(())
}

/// A message just below the limit whose handler fails with a long error becomes a complete dead letter. The next
/// message of its key is handled.
///
/// Fails for an engine whose dead letters may be no larger than other records.
pub async fn a_message_below_the_limit_becomes_a_dead_letter_with_a_long_error<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    let Some(limit) = transport.max_record() else {
        return Ok(());
    };
    let (reporter, mut reports) = report_channel();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |load: Load| {
            let _ = reporter.send(load.text.len());
            async move {
                match load.text.len() {
                    0 => Ok(()),
                    _ => Err(BusError::refused::<Load>("e".repeat(1 << 20))),
                }
            }
        })
        .build();
    let worker = Worker::new(connect(harness).await, bus).command::<Load>();
    let worker = must("a worker starts", worker.start()).await;
    let bus = client(connect(harness).await).await;
    // The headers and the key are a few hundred bytes.
    let large = limit - 2 * OVERHEAD;
    for len in [large, 0] {
        let text = "x".repeat(len);
        let sent = within("a command", bus.execute_async(Load { key: 7, text })).await;
        sent.unwrap_or_else(|error| panic!("{len} bytes: {error}"));
    }
    assert_eq!(reports.take("both are handled", 2).await, [large, 0]);
    let letter = wait_for_dead_letters(&transport, 1).await.remove(0);
    let begin = "conformance.load: its handler failed: eee";
    assert!(letter.error.starts_with(begin), "{}", letter.error);
    let stored = letter.record.body.len();
    assert!(
        stored > large && letter.omitted == 0,
        "{stored} bytes of the body are stored, and {} omitted",
        letter.omitted
    );
    worker.shutdown(DEADLINE).await;
    Ok(())
}

/// A query whose answer exceeds the limit fails at once, with the size of the answer, and the next one is answered.
///
/// Fails for an engine that confirms a reply which is never delivered.
pub async fn an_answer_above_the_limit_fails_its_query<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let Some(limit) = transport.max_record() else {
        return Ok(());
    };
    let bus = BusBuilder::new()
        .register_query_fn(|repeat: Repeat| "x".repeat(repeat.0))
        .build();
    let worker = Worker::new(transport, bus).query::<Repeat>();
    let worker = must("a worker starts", worker.start()).await;
    let bus = client(connect(harness).await).await.with_timeout(DEADLINE);
    let answer = within("a query ends", bus.send_async(Repeat(limit))).await;
    let size = (limit + 2).to_string();
    assert!(
        matches!(&answer, Err(BusError::Remote { error, .. }) if error.contains(&size)),
        "not an error that names {size} bytes: {:?}",
        answer.map(|answer| answer.len())
    );
    let answer = within("a query ends", bus.send_async(Repeat(7))).await;
    assert_eq!(answer.ok().as_deref(), Some("xxxxxxx"), "the next answer");
    worker.shutdown(DEADLINE).await;
    Ok(())
}
