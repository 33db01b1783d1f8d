//! How clients of the library come and go.

use std::thread;

use rdkafka::{ClientContext, config::FromClientConfigAndContext};

use super::{errors, settings::Settings};
use static_bus_remote::transport::TransportError;

/// Starts a client.
pub(super) fn start<X: ClientContext, C: FromClientConfigAndContext<X>>(
    settings: &Settings,
    config: &rdkafka::ClientConfig,
    context: X,
) -> Result<C, TransportError> {
    let client = config.create_with_context(context);
    client.map_err(|e| errors::error(&settings.address, "starting a client", &e))
}

/// Ends a client, on a thread of its own: it takes a while, and this may be an async thread.
pub(super) fn end<C: Send + 'static>(client: C) {
    let ending = thread::Builder::new().spawn(move || drop(client));
    drop(ending);
}
