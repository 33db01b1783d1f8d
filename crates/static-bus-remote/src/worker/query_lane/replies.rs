//! The replies of a lane of queries.

use std::sync::Arc;

use crate::{
    error_text::error_text,
    outbound::Outbound,
    received::Received,
    reply::{self, Status},
    transport::{TransportError, TransportErrorKind},
    worker::health::{Report, Task},
};

/// Sends replies. A reply that is lost is a timeout at the caller; one that the broker refuses for its size becomes an
/// error.
pub(super) struct Replies {
    outbound: Outbound,
    report: Report,
}

impl Replies {
    pub fn new(outbound: Outbound, report: Report) -> Arc<Self> {
        Arc::new(Replies { outbound, report })
    }

    pub fn send(self: &Arc<Self>, query: &Arc<Received>, status: Status) {
        let answer = match &status {
            Status::Answered(body) => Some(body.len()),
            _ => None,
        };
        let Some((topic, record)) = reply::write(query, status) else {
            return;
        };
        let (replies, query) = (self.clone(), query.clone());
        let done = Box::new(move |result| replies.on_sent(&query, answer, result));
        self.outbound.try_hand_over(topic, record, done);
    }

    /// The result of a reply; `answer` is the size of its answer in bytes, if it has one.
    fn on_sent(
        self: &Arc<Self>,
        query: &Arc<Received>,
        answer: Option<usize>,
        result: Result<(), TransportError>,
    ) {
        match (&result, answer) {
            (Err(error), Some(size)) if error.kind() == TransportErrorKind::TooLarge => {
                let text = format_args!(
                    "its answer has {size} bytes, and the broker does not accept it: {error}"
                );
                let error = error_text(text);
                let retryable = false;
                self.send(query, Status::Failed { error, retryable });
            }
            // Others show in the health of the lane that receives.
            (Err(error), _) if error.kind().is_transient() => {}
            _ => self.report.of(Task::Reply, result),
        }
    }
}
