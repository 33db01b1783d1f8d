//! Spans of asynchronous handlers.

use super::{Tracing, record_failure};
use crate::asynchronous::BusError;
use crate::layer::around_future;
use tracing::Instrument;

impl Tracing {
    /// Runs a future within a span of its own, which is entered whenever the future is polled.
    async fn run<R>(
        &self,
        _message: &'static str,
        future: impl Future<Output = Result<R, BusError>>,
    ) -> Result<R, BusError> {
        let span = self.span();
        let result = future.instrument(span.clone()).await;
        if let Err(error) = &result {
            record_failure(&span, error_type(error));
            span.record("otel.status_description", tracing::field::display(error));
        }
        result
    }
}

/// The kind of an error, as an identifier.
fn error_type(error: &BusError) -> &'static str {
    match error {
        BusError::Timeout { .. } => "timeout",
        BusError::Transport { .. } => "transport",
        BusError::Codec { .. } => "codec",
        BusError::NoHandler { .. } => "no_handler",
        BusError::Rejected { .. } => "rejected",
        BusError::Remote { .. } => "remote",
    }
}

around_future!(Tracing);
