//! The kinds of topics of consumers and of receivers.

use super::support::{connect, subscription, topic, within};
use super::{Harness, Outcome};
use static_bus_remote::transport::{Kind, Topic, Transport, TransportError, TransportErrorKind};

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

fn refused<T>(call: &str, topic: &Topic, result: Result<T, TransportError>) {
    let Err(error) = result else {
        panic!("{call} accepts {topic}");
    };
    assert_eq!(error.kind(), TransportErrorKind::Refused, "{call}: {error}");
    let named = error.reason().contains(&topic.to_string());
    assert!(named, "{call}: without the topic {topic}: {error}");
}
