//! Layers around asynchronous handlers that are slow, fail, or may not be called too often.
//!
//! They are for asynchronous handlers only: a synchronous one can neither wait nor be interrupted. Their clock is tokio's, so a test
//! with `tokio::time::pause` does not wait.

mod limits;
mod retry;
mod timeout;

pub use limits::{ConcurrencyLimit, RateLimit};
pub use retry::Retry;
pub use timeout::Timeout;
