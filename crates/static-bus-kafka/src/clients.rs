//! Clients of `librdkafka`, and calls that block on them.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, config::FromClientConfigAndContext, error::KafkaResult,
};

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
    let ending = thread::Builder::new().spawn(move || drop(client));
    drop(ending);
}

/// Runs a blocking call on a thread for such calls. `doing` names it in errors.
pub(super) async fn blocking<T: Send + 'static>(
    settings: &Settings,
    doing: &str,
    call: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> Result<T, TransportError> {
    let called = tokio::task::spawn_blocking(call);
    match tokio::time::timeout(settings.deadline() + GRACE, called).await {
        Ok(Ok(result)) => result.map_err(|e| errors::error(settings.address(), doing, &e)),
        Ok(Err(_)) | Err(_) => Err(errors::unanswered(settings.address(), doing)),
    }
}

/// Repeats a call that fails until `end`. A cluster refuses requests for a while when it elects a leader.
pub(super) fn retry_until<T>(end: Instant, call: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    loop {
        match call() {
            Err(_) if Instant::now() < end => thread::sleep(RETRY_DELAY),
            result => return result,
        }
    }
}
