//! A bus that offers everything, for the inference of messages.

use crate::dispatch::{ExecuteCommand, PostMessage, PublishEvent, SendQuery};
use crate::message::{Command, Event, EventOutput, Message, Query};

/// A bus that exists in bounds only.
///
/// The builder requires `H: QueryHandler<Q, AnyBus>`. If `H` handles one query, rustc infers `Q` from its
/// one impl. What `H` needs of the bus is no obstacle, as this one offers all of it; the real bus is checked
/// by `build`.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum AnyBus {}

#[diagnostic::do_not_recommend]
impl<Q: Query> SendQuery<Q> for AnyBus {
    fn send(&self, _: Q) -> Q::Response {
        match *self {}
    }
}
#[diagnostic::do_not_recommend]
impl<C: Command> ExecuteCommand<C> for AnyBus {
    fn execute(&self, _: C) -> C::Output {
        match *self {}
    }
}
#[diagnostic::do_not_recommend]
impl<E: Event> PublishEvent<E> for AnyBus {
    fn publish(&self, _: &E) -> <E::Output as EventOutput>::Published {
        match *self {}
    }
}
#[diagnostic::do_not_recommend]
impl<M: Message> PostMessage<M> for AnyBus {
    fn post(&self, _: M) {
        match *self {}
    }
}
