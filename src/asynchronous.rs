//! Dispatch that may wait: in one process, or through a broker.

mod builder;
mod bus;
mod dispatch;
mod error;
mod handler;
mod module;
mod outcome;
mod refusal;
pub(crate) mod topic;
pub(crate) mod wire;

pub use dispatch::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery};
pub use error::BusError;
pub use handler::{AsyncCommandHandler, AsyncEventHandler, AsyncQueryHandler};
pub use module::{
    OnCommandAsync, OnEventAsync, OnQueryAsync, on_command_async, on_command_async_fn,
    on_event_async, on_event_async_fn, on_query_async, on_query_async_fn,
};
