//! Dispatch that may wait: in one process, or through a broker.

mod dispatch;
mod error;
mod handler;

pub use dispatch::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery};
pub use error::BusError;
pub use handler::{AsyncCommandHandler, AsyncEventHandler, AsyncQueryHandler};
