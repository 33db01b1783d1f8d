//! Clients of `librdkafka`, and calls that block on them.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, config::FromClientConfigAndContext, error::KafkaResult,
};

use tokio::sync::oneshot;

use super::{errors, settings::Settings};
use static_bus_remote::transport::TransportError;

/// The time by which a blocking call may exceed the deadline.
const GRACE: Duration = Duration::from_secs(2);
/// The delay between attempts of a blocking call.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Starts a client.
pub(super) fn start<X: ClientContext, C: FromClientConfigAndContext<X>>(
    settings: &Settings,
    config: &ClientConfig,
    context: X,
) -> Result<C, TransportError> {
    let client = config.create_with_context(context);
    client.map_err(|e| errors::error(settings.address(), "starting a client", &e))
}

/// Drops a client on a thread of its own, because that blocks for a while.
pub(super) fn end<C: Send + 'static>(client: C) {
    start_thread(move || drop(client));
}

/// Runs a blocking call on a thread of its own: a runtime that shuts down does not wait for it. `None` if the call
/// panics, or no thread can be started.
pub(super) async fn on_thread<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = oneshot::channel();
    // The result is not needed if the caller is gone.
    start_thread(move || _ = tell.send(call()));
    told.await.ok()
}

/// Runs a blocking call on a thread of its own, or not at all if no thread can be started.
fn start_thread(call: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name("kafka call".to_owned());
    _ = thread.spawn(call);
}

/// Runs a blocking call on a thread of its own. `doing` names it in errors.
pub(super) async fn blocking<T: Send + 'static>(
    settings: &Settings,
    doing: &str,
    call: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> Result<T, TransportError> {
    match tokio::time::timeout(settings.deadline() + GRACE, on_thread(call)).await {
        Ok(Some(result)) => result.map_err(|e| errors::error(settings.address(), doing, &e)),
        Ok(None) | Err(_) => Err(errors::unanswered(settings.address(), doing)),
    }
}

/// Repeats a call until it succeeds, or fails for good, or until `end`. A cluster refuses requests for a while when it
/// elects a leader, or loads its groups.
pub(super) fn retry_until<T>(end: Instant, call: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    loop {
        match call() {
            Err(e) if errors::is_transient(&e) && Instant::now() < end => {
                thread::sleep(RETRY_DELAY);
            }
            result => return result,
        }
    }
}
