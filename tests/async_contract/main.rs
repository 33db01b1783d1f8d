//! The guarantees of asynchronous dispatch in one process.

mod calls;
mod cost;
mod errors;
mod events;
mod layers;
mod objects;
mod resilience;
mod spawning;
mod wiring;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The output of a future that is ready at once.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}
