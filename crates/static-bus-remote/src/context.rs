//! The message that is being handled, from which nested sends inherit attributes.

use std::{borrow::Cow, sync::Arc};

use tokio::time::Instant;

use super::{Envelope, received::Received, transport::Scope};

tokio::task_local! {
    static CURRENT: (Arc<Received>, Option<Scope>);
}

/// Runs an attempt to handle a message, with that message as the current one.
pub(crate) async fn run<F: Future>(
    message: Arc<Received>,
    scope: Option<Scope>,
    handler: F,
) -> F::Output {
    CURRENT.scope((message, scope), handler).await
}

/// The scope of the current attempt, if its engine has one.
pub(crate) fn scope() -> Option<Scope> {
    CURRENT.try_with(|(_, scope)| scope.clone()).ok().flatten()
}

/// The attributes of the message whose handler runs in this task; `None` outside of a handler that a
/// [`Worker`](super::Worker) runs, and in tasks that the handler spawned.
///
/// ```
/// assert_eq!(static_bus_remote::current(), None);
/// ```
pub fn current() -> Option<Envelope<'static>> {
    with(|envelope| envelope.into_owned())
}

/// Adds the correlation, the cause and the trace of the current message.
pub(crate) fn inherit(envelope: &mut Envelope<'_>) {
    with(|current| {
        let owned = |value: Cow<'_, str>| Cow::Owned(value.into_owned());
        let correlation = current.correlation_id.unwrap_or_else(|| current.id.clone());
        envelope.correlation_id = Some(owned(correlation));
        envelope.causation_id = Some(owned(current.id));
        if envelope.trace_parent.is_none() {
            envelope.trace_parent = current.trace_parent.map(owned);
            envelope.trace_state = current.trace_state.map(owned);
        }
    });
}

/// The time at which the caller of the current query stops waiting.
pub(crate) fn deadline() -> Option<Instant> {
    CURRENT
        .try_with(|(message, _)| message.deadline())
        .ok()
        .flatten()
}

fn with<R>(read: impl FnOnce(Envelope<'_>) -> R) -> Option<R> {
    CURRENT
        .try_with(|(message, _)| message.envelope().ok().map(read))
        .ok()
        .flatten()
}
