//! The kinds of topics that consumers and receivers read.

use super::support::{connect, subscription, topic, within};
use super::{Harness, Outcome};
use static_bus_remote::transport::{Kind, Transport, TransportErrorKind};

/// A consumer reads commands and events, a receiver queries and replies; for a topic of another kind both are
/// refused, and the text names the topic.
///
/// A naive engine joins a group of queries and delivers them twice, or takes a command for a query and loses it.
pub async fn a_topic_of_another_kind_is_refused<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Query, Kind::Reply, Kind::DeadLetter] {
        let topic = topic(kind, "other");
        let joining = transport.consume(subscription(&topic, "handlers", "member"));
        let error = within("a consumer is refused", joining).await.err();
        let error = error.unwrap_or_else(|| panic!("a consumer of {topic}"));
        assert_eq!(error.kind(), TransportErrorKind::Refused, "{error}");
        assert!(error.reason().contains(&topic.to_string()), "{error}");
    }
    for kind in [Kind::Command, Kind::Event, Kind::DeadLetter] {
        let topic = topic(kind, "other");
        let listening = transport.listen(topic.clone());
        let error = within("a receiver is refused", listening).await.err();
        let error = error.unwrap_or_else(|| panic!("a receiver of {topic}"));
        assert_eq!(error.kind(), TransportErrorKind::Refused, "{error}");
        assert!(error.reason().contains(&topic.to_string()), "{error}");
    }
    Ok(())
}
