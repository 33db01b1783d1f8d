//! The message that is being handled, from which nested sends inherit attributes.

use std::{borrow::Cow, sync::Arc};

use tokio::time::Instant;

#[cfg(feature = "opentelemetry")]
use super::trace;
use super::{Envelope, received::Received, transport::Scope};

tokio::task_local! {
    static CURRENT: Attempt;
    static SCOPE: Scope;
}

/// An attempt to handle a message.
pub(crate) struct Attempt {
    pub message: Arc<Received>,
    pub scope: Option<Scope>,
    /// The names of the headers that nested sends inherit.
    pub inherited: Arc<[Box<str>]>,
}

/// Runs an attempt to handle a message, with that message as the current one.
pub(crate) async fn run<F: Future>(attempt: Attempt, handler: F) -> F::Output {
    #[cfg(feature = "opentelemetry")]
    let handler = trace::continued(&attempt.message, handler);
    CURRENT.scope(attempt, handler).await
}

/// For engines: the scope of the records that this task sends, of [`with_scope`] or of the attempt to handle a message.
pub fn current_scope() -> Option<Scope> {
    let attempt = || CURRENT.try_with(|attempt| attempt.scope.clone());
    let set = SCOPE.try_with(Scope::clone);
    set.map(Some).or_else(|_| attempt()).ok().flatten()
}

/// For engines: runs a future whose records have a scope.
pub async fn with_scope<F: Future>(scope: Scope, future: F) -> F::Output {
    SCOPE.scope(scope, future).await
}

/// The attributes of the message whose handler runs in this task; `None` outside of a handler that a
/// [`Worker`](super::Worker) runs, and in tasks that the handler spawned.
///
/// ```
/// assert_eq!(static_bus_remote::current(), None);
/// ```
pub fn current() -> Option<Envelope<'static>> {
    with(|envelope, _| envelope.into_owned())
}

/// Adds the correlation, the cause, the inherited headers and the trace of the current message; the trace of the current
/// span, if there is one.
pub(crate) fn inherit(envelope: &mut Envelope<'_>) {
    #[cfg(feature = "opentelemetry")]
    if envelope.trace_parent.is_none() {
        trace::inject(envelope);
    }
    with(|current, inherited| {
        let owned = |value: Cow<'_, str>| Cow::Owned(value.into_owned());
        for name in inherited {
            if let (None, Some(value)) = (envelope.header(name), current.header(name)) {
                let (name, value) = (name.to_string(), value.to_owned());
                envelope.custom.push((name.into(), value.into()));
            }
        }
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
        .try_with(|attempt| attempt.message.deadline())
        .ok()
        .flatten()
}

/// Reads the attributes of the current message, and the names of the headers that are inherited.
fn with<R>(read: impl FnOnce(Envelope<'_>, &[Box<str>]) -> R) -> Option<R> {
    CURRENT
        .try_with(|attempt| {
            let envelope = attempt.message.envelope().ok()?;
            Some(read(envelope, &attempt.inherited))
        })
        .ok()
        .flatten()
}
