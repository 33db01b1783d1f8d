//! Asynchronous dispatch, in one process or through a broker.
//!
//! A service implements [`AsyncQueryHandler`], [`AsyncCommandHandler`] or [`AsyncEventHandler`] with a
//! plain `async fn`, and uses [`AsyncSendQuery`], [`AsyncExecuteCommand`] and [`AsyncPublishEvent`] as
//! bounds on the bus. All return [`BusError`], so `?` works on nested calls:
//!
//! ```
//! use static_bus::{asynchronous::BusError, prelude::*};
//!
//! struct GetRate;
//! query!(GetRate -> u32);
//! struct Convert(u32);
//! query!(Convert -> u32);
//!
//! struct Bank;
//! impl<B: AsyncSendQuery<GetRate>> AsyncQueryHandler<Convert, B> for Bank {
//!     async fn handle(&self, query: Convert, bus: &B) -> Result<u32, BusError> {
//!         Ok(query.0 * bus.send_async(GetRate).await?)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let bus = BusBuilder::new()
//!     .register_query_async::<Convert, _>(Bank)
//!     .register_query_fn(|_: GetRate| 3)
//!     .build();
//! assert_eq!(bus.send_async(Convert(7)).await.unwrap(), 21);
//! # }
//! ```
//!
//! No runtime is included: a call is a future, and any executor can run it. A synchronous handler also
//! serves asynchronous calls. A synchronous call of an asynchronous handler does not compile.

mod any_bus;
mod builder;
mod bus;
mod dispatch;
mod entry;
mod error;
mod event;
mod handler;
mod module;
mod object;
mod outcome;
mod refusal;
mod subscribers;

/// The entries of asynchronous handlers in the [table](crate::table): public for short names in compile errors.
#[doc(hidden)]
pub use self::{
    entry::{AsyncCommandEntry, AsyncQueryEntry},
    event::AsyncEventEntry,
};
pub use dispatch::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery};
pub use error::BusError;
pub use handler::{AsyncCommandHandler, AsyncEventHandler, AsyncQueryHandler};
pub use module::{
    OnCommandAsync, OnEventAsync, OnQueryAsync, on_command_async, on_command_async_fn,
    on_event_async, on_event_async_fn, on_query_async, on_query_async_fn,
};
pub use object::{DynAsyncExecuteCommand, DynAsyncPublishEvent, DynAsyncSendQuery};
pub(crate) use outcome::Reportable;
