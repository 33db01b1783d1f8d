//! The reply to a query.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Codec, Headers,
    envelope::attribute,
    headers::Position,
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
///
/// A reply has the attributes that its receiver reads, and no others: it goes to one process, which knows its query.
pub(crate) fn write(query: &Received, status: Status) -> Option<(Topic, Record)> {
    let left = query.deadline().map_or(WITHOUT_DEADLINE, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    });
    let topic = Topic {
        kind: Kind::Reply,
        name: Cow::Owned(query.value(attribute::REPLY_TO)?.into_owned()),
    };
    let mut headers = Headers::with_capacity(128);
    headers.push_valid("causationid", &query.value(attribute::ID)?);
    let body = match status {
        Status::Answered(body) => {
            headers.push_valid("status", "answered");
            let content_type = query.value(attribute::CONTENT_TYPE)?;
            headers.push_valid("datacontenttype", &content_type);
            body
        }
        Status::Failed { error, retryable } => {
            headers.push_valid("status", "failed");
            headers.push_valid("error", &error);
            headers.push_valid("retryable", if retryable { "true" } else { "false" });
            Bytes::new()
        }
        Status::NoHandler => {
            headers.push_valid("status", "nohandler");
            Bytes::new()
        }
    };
    let record = Record {
        headers,
        body,
        expires: Some(left),
        ..Record::default()
    };
    Some((topic, record))
}

/// The number of attributes of a reply that its receiver reads.
const ATTRIBUTES: usize = 5;
/// The number of the id of the query.
const QUERY: usize = 0;

fn number_of(name: &str) -> Option<usize> {
    match name {
        "causationid" => Some(QUERY),
        "status" => Some(1),
        "datacontenttype" => Some(2),
        "error" => Some(3),
        "retryable" => Some(4),
        _ => None,
    }
}

/// A received reply whose attributes are parsed once.
pub(crate) struct Reply {
    record: Arc<Record>,
    /// By [`number_of`] their names.
    positions: [Option<Position>; ATTRIBUTES],
}

impl Reply {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Reply {
            positions: record.headers.positions_of(number_of),
            record,
        }
    }

    /// The id of the query; `None` if it is not one that a client gave.
    pub(crate) fn query(&self) -> Option<Uuid> {
        let query = self.record.headers.value(self.positions[QUERY]?);
        Uuid::try_parse(&query).ok()
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

    /// The values by [`number_of`] their names; empty where an attribute is missing.
    fn values(&self) -> [Cow<'_, str>; ATTRIBUTES] {
        let headers = &self.record.headers;
        self.positions.map(|position| match position {
            Some(position) => headers.value(position),
            None => Cow::Borrowed(""),
        })
    }
}
