//! What a module asks for: one small, object-safe trait for each thing it may do.

use crate::message::{Command, Event, EventOutput, Message, Query};

/// Can answer query `Q`.
pub trait SendQuery<Q: Query> {
    /// Runs the query's one handler on the caller's stack and returns its answer.
    fn send(&self, query: Q) -> Q::Response;
}

/// Can carry out command `C`.
pub trait ExecuteCommand<C: Command> {
    /// Runs the command's one handler on the caller's stack and returns what it returned.
    fn execute(&self, command: C) -> C::Output;
}

/// Can publish event `E`.
pub trait PublishEvent<E: Event> {
    /// Runs every subscriber in registration order; failures are collected, see [`EventOutput`].
    fn publish(&self, event: &E) -> <E::Output as EventOutput>::Published;
}

/// Can queue message `M` in the bus's outbox.
pub trait PostMessage<M: Message> {
    /// Appends the message; `settle` delivers it.
    fn post(&self, message: M);
}
