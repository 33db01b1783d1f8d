//! The kinds of topics of consumers and of receivers.

use std::time::Duration;

use super::support::{connect, record, subscription, topic, within};
use super::{Harness, Outcome};
use static_bus_remote::transport::{
    Due, Kind, Record, Topic, Transport, TransportError, TransportErrorKind,
};

/// `consume` refuses topics of queries, replies and dead letters, and `listen` those of commands, events and dead
/// letters. The text of the error names the topic.
///
/// Fails for an engine that delivers queries to each group, or that loses a command with its receiver.
pub async fn a_topic_of_another_kind_is_refused<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Query, Kind::Reply, Kind::DeadLetter] {
        let topic = topic(kind, "other");
        let joining = transport.consume(subscription(&topic, "handlers", "member"));
        refused("consume", &topic, within("consume", joining).await);
    }
    for kind in [Kind::Command, Kind::Event, Kind::DeadLetter] {
        let topic = topic(kind, "other");
        let listening = transport.listen(topic.clone());
        refused("listen", &topic, within("listen", listening).await);
    }
    Ok(())
}

/// A query, a reply or a dead letter that is due later is refused, and so is any record by an engine that keeps none until
/// it is due. Other records of the same append are accepted.
///
/// Fails for an engine that ignores when a record is due.
pub async fn a_record_that_cannot_be_scheduled_is_refused<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let can_schedule = transport.check_scheduling().is_ok();
    let scheduled = || Record {
        due: Some(Due::after(Duration::from_secs(3600))),
        ..record(0)
    };
    let kinds = [
        Kind::Query,
        Kind::Reply,
        Kind::DeadLetter,
        Kind::Command,
        Kind::Event,
    ];
    for kind in kinds {
        let is_kept = can_schedule && matches!(kind, Kind::Command | Kind::Event);
        let (topic, other) = (topic(kind, "scheduled"), topic(Kind::Command, "other"));
        let both = vec![(topic.clone(), scheduled()), (other, record(1))];
        let mut results = within("append", transport.append(both)).await;
        let last = results.pop();
        assert!(
            matches!(last, Some(Ok(()))),
            "a record with one of {topic} that is due later: {last:?}"
        );
        match results.pop() {
            Some(Ok(())) if is_kept => {}
            Some(Err(e)) if !is_kept && e.kind() == TransportErrorKind::Refused => {}
            other => panic!("a record of {topic} that is due later: {other:?}"),
        }
    }
    Ok(())
}

fn refused<T>(call: &str, topic: &Topic, result: Result<T, TransportError>) {
    let Err(error) = result else {
        panic!("{call} accepts {topic}");
    };
    assert_eq!(error.kind(), TransportErrorKind::Refused, "{call}: {error}");
    let named = error.reason().contains(&topic.to_string());
    assert!(named, "{call}: without the topic {topic}: {error}");
}
