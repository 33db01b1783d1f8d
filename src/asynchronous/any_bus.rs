//! The asynchronous traits of [`AnyBus`].

use super::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery, BusError};
use crate::builder::AnyBus;
use crate::message::{Command, Event, Query};
use core::future::pending;

#[diagnostic::do_not_recommend]
impl<Q: Query> AsyncSendQuery<Q> for AnyBus {
    fn send_async(&self, _: Q) -> impl Future<Output = Result<Q::Response, BusError>> + Send {
        pending()
    }
}
#[diagnostic::do_not_recommend]
impl<C: Command> AsyncExecuteCommand<C> for AnyBus {
    fn execute_async(&self, _: C) -> impl Future<Output = Result<(), BusError>> + Send {
        pending()
    }
}
#[diagnostic::do_not_recommend]
impl<E: Event> AsyncPublishEvent<E> for AnyBus {
    fn publish_async(&self, _: &E) -> impl Future<Output = Result<(), BusError>> + Send {
        pending()
    }
}
