//! What a handler's nested sends inherit from the message that is being handled.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Envelope, transport::Record};

tokio::task_local! {
    static CURRENT: Arc<Record>;
}

/// Runs a handler with its message as the current one.
pub(crate) async fn scope<F: Future>(record: Arc<Record>, handler: F) -> F::Output {
    CURRENT.scope(record, handler).await
}

/// The attributes of the message whose handler is running in this task, in their own memory; none
/// outside a handler that a [`Worker`](super::Worker) runs, and in tasks that the handler spawned.
///
/// ```
/// assert_eq!(static_bus_remote::current(), None);
/// ```
pub fn current() -> Option<Envelope<'static>> {
    with(|envelope| envelope.into_owned())
}

/// What messages that are sent now inherit.
pub(crate) fn inherit(envelope: &mut Envelope<'_>) {
    with(|current| {
        let correlation = current.correlation_id.unwrap_or_else(|| current.id.clone());
        envelope.correlation_id = Some(correlation.into_owned().into());
        envelope.causation_id = Some(current.id.into_owned().into());
        if envelope.trace_parent.is_none() {
            let owned = |value: std::borrow::Cow<'_, str>| value.into_owned().into();
            envelope.trace_parent = current.trace_parent.map(owned);
            envelope.trace_state = current.trace_state.map(owned);
        }
    });
}

/// When the caller of the query that is being handled stops waiting.
pub(crate) fn deadline() -> Option<Timestamp> {
    with(|current| current.deadline).flatten()
}

fn with<R>(read: impl FnOnce(Envelope<'_>) -> R) -> Option<R> {
    CURRENT
        .try_with(|record| Envelope::parse(&record.headers).ok().map(read))
        .ok()
        .flatten()
}
