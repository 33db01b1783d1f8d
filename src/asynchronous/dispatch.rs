//! What a module asks for when an answer may take its time.

use super::BusError;
use crate::message::{Command, Event, Query};

/// Can answer query `Q`, perhaps from another process.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot send query `{Q}`")]
pub trait AsyncSendQuery<Q: Query>: Sync {
    /// Sends the query to its one handler.
    ///
    /// # Errors
    /// [`BusError`], if no answer came.
    fn send_async(&self, query: Q) -> impl Future<Output = Result<Q::Response, BusError>> + Send;
}

/// Can have command `C` carried out, perhaps by another process.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot execute command `{C}`")]
pub trait AsyncExecuteCommand<C: Command>: Sync {
    /// Sends the command to its one handler. `Ok` says, in process, that it was carried out;
    /// remotely, that the broker has accepted it.
    ///
    /// # Errors
    /// [`BusError`]; in process, [`BusError::Rejected`] with the handler's own.
    fn execute_async(&self, command: C) -> impl Future<Output = Result<(), BusError>> + Send;
}

/// Can publish event `E`, perhaps to other processes.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot publish event `{E}`")]
pub trait AsyncPublishEvent<E: Event>: Sync {
    /// Runs every subscriber concurrently, and waits for all. `Ok` says, in process, that all have
    /// succeeded; remotely, that the broker has accepted the event.
    ///
    /// # Errors
    /// [`BusError`]; in process, [`BusError::Rejected`] with all failures.
    fn publish_async(&self, event: &E) -> impl Future<Output = Result<(), BusError>> + Send;
}
