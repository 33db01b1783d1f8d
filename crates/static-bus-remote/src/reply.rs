//! The reply to a query.

use std::{borrow::Cow, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    Codec, Envelope,
    received::Received,
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

/// Writes the reply to a query; `None` if the query has no address for it, or no attributes that can be read.
pub(crate) fn write(query: &Received, source: &str, status: Status) -> Option<(Topic, Record)> {
    let left = query.deadline().map_or(WITHOUT_DEADLINE, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    });
    let query = query.envelope().ok()?;
    let topic = Topic {
        kind: Kind::Reply,
        name: Cow::Owned(query.reply_to.as_deref()?.to_owned()),
    };
    let mut envelope = Envelope::new(source, &*query.message_type, &*query.content_type);
    envelope.causation_id = Some(Cow::Borrowed(&query.id));
    envelope.correlation_id = query.correlation_id.as_deref().map(Cow::Borrowed);
    envelope.trace_parent = query.trace_parent.as_deref().map(Cow::Borrowed);
    envelope.trace_state = query.trace_state.as_deref().map(Cow::Borrowed);
    let mut record = envelope.record(Bytes::new(), Some(left));
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

/// The attributes of a reply that its receiver reads.
const ATTRIBUTES: [&str; 5] = [
    "causationid",
    "status",
    "datacontenttype",
    "error",
    "retryable",
];

/// A received reply whose attributes are parsed once.
pub(crate) struct Reply {
    record: Arc<Record>,
    /// In the order of [`ATTRIBUTES`].
    positions: [Option<Range<usize>>; ATTRIBUTES.len()],
}

impl Reply {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Reply {
            positions: record.headers.positions_of(&ATTRIBUTES),
            record,
        }
    }

    /// The id of the query.
    pub(crate) fn query(&self) -> Cow<'_, str> {
        let [query, ..] = self.values();
        query
    }

    /// The response to the query.
    ///
    /// # Errors
    /// The failure of the query, or of decoding its response.
    pub(crate) fn read<Q: Query<Response: DeserializeOwned>>(
        &self,
    ) -> Result<Q::Response, BusError> {
        let message = Q::NAME;
        let [_, status, content_type, error, retryable] = self.values();
        match &*status {
            "answered" => Codec::of(&content_type)
                .and_then(|codec| codec.decode(&self.record.body))
                .map_err(|source| BusError::Codec { message, source }),
            "failed" => Err(BusError::Remote {
                message,
                error: error.into_owned(),
                retryable: retryable == "true",
            }),
            "nohandler" => Err(BusError::NoHandler { message }),
            other => Err(BusError::Codec {
                message,
                source: format!("a reply of the unknown status {other:?}").into(),
            }),
        }
    }

    /// The values in the order of [`ATTRIBUTES`]; empty where an attribute is missing.
    fn values(&self) -> [Cow<'_, str>; ATTRIBUTES.len()] {
        self.positions.each_ref().map(|position| {
            let position = position.clone();
            position.map_or(Cow::Borrowed(""), |at| self.record.headers.value(at))
        })
    }
}
