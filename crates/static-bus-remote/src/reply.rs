//! The reply to a query.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{
    Codec, Envelope,
    transport::{Kind, Record, Topic},
};
use static_bus::asynchronous::BusError;
use static_bus::message::Query;

/// The time until a reply expires whose query has no deadline.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(60);

/// The result of a query at the worker.
pub(crate) enum Status {
    Answered(Bytes),
    Failed { error: String, retryable: bool },
    NoHandler,
}

/// Writes the reply to a query; `None` if the query has no address for it.
pub(crate) fn write(query: &Envelope<'_>, source: &str, status: Status) -> Option<(Topic, Record)> {
    let topic = Topic {
        kind: Kind::Reply,
        name: Cow::Owned(query.reply_to.as_deref()?.to_owned()),
    };
    let mut envelope = Envelope::new(source, &*query.message_type, &*query.content_type);
    envelope.causation_id = Some(Cow::Borrowed(&query.id));
    envelope.correlation_id = query.correlation_id.as_deref().map(Cow::Borrowed);
    envelope.trace_parent = query.trace_parent.as_deref().map(Cow::Borrowed);
    envelope.trace_state = query.trace_state.as_deref().map(Cow::Borrowed);
    let mut record = envelope.record(Bytes::new(), Some(time_left(query)));
    let headers = &mut record.headers;
    match status {
        Status::Answered(body) => {
            headers.push("status", "answered");
            record.body = body;
        }
        Status::Failed { error, retryable } => {
            headers.push("status", "failed");
            headers.push("error", &error);
            headers.push("retryable", if retryable { "true" } else { "false" });
        }
        Status::NoHandler => headers.push("status", "nohandler"),
    }
    Some((topic, record))
}

/// The time left to the caller.
fn time_left(query: &Envelope<'_>) -> Duration {
    let left = |deadline: Timestamp| deadline.duration_since(Timestamp::now());
    let left = query.deadline.map(left);
    left.and_then(|left| left.try_into().ok())
        .unwrap_or(WITHOUT_DEADLINE)
}

/// Parses the reply to a query.
pub(crate) fn read<Q: Query<Response: DeserializeOwned>>(
    reply: &Record,
) -> Result<Q::Response, BusError> {
    let message = Q::NAME;
    let headers = &reply.headers;
    let text = |name| headers.get(name).unwrap_or_default();
    match &*text("status") {
        "answered" => Codec::of(&text("datacontenttype"))
            .and_then(|codec| codec.decode(&reply.body))
            .map_err(|source| BusError::Codec { message, source }),
        "failed" => Err(BusError::Remote {
            message,
            error: text("error").into_owned(),
            retryable: text("retryable") == "true",
        }),
        "nohandler" => Err(BusError::NoHandler { message }),
        other => Err(BusError::Codec {
            message,
            source: format!("a reply of the unknown status {other:?}").into(),
        }),
    }
}
