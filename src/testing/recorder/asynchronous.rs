//! A recorder around asynchronous handlers.

use super::{Entered, Recording, Running};
use crate::asynchronous::BusError;
use crate::layer::{
    AsyncAroundCommand, AsyncAroundEvent, AsyncAroundQuery, NextCommand, NextEvent, NextQuery,
};
use crate::message::{Command, Event, Query};
use std::future::poll_fn;
use std::pin::pin;
use std::ptr::from_ref;

impl Recording {
    /// Runs a future that is the run of a handler. It is that only while it is polled: the messages that other futures
    /// send in between have other senders.
    async fn poll<R>(
        &self,
        running: Running,
        future: impl Future<Output = Result<R, BusError>>,
    ) -> Result<R, BusError> {
        let mut future = pin!(future);
        let result = poll_fn(|context| {
            let _entered = Entered::new(running);
            future.as_mut().poll(context)
        })
        .await;
        self.end(running, result.is_err());
        result
    }
}

impl<Q: Query + Send, B: ?Sized> AsyncAroundQuery<Q, B> for Recording {
    async fn query(
        &self,
        query: Q,
        _bus: &B,
        next: impl NextQuery<Q>,
    ) -> Result<Q::Response, BusError> {
        let running = self.begin(0, query.__keep());
        self.poll(running, async { next.run(query).await }).await
    }
}
impl<C: Command + Send, B: ?Sized> AsyncAroundCommand<C, B> for Recording {
    async fn command(
        &self,
        command: C,
        _bus: &B,
        next: impl NextCommand<C>,
    ) -> Result<(), BusError> {
        let running = self.begin(0, command.__keep());
        self.poll(running, async { next.run(command).await }).await
    }
}
impl<E: Event + Sync, B: ?Sized> AsyncAroundEvent<E, B> for Recording {
    async fn event(&self, event: &E, _bus: &B, next: impl NextEvent<E>) -> Result<(), BusError> {
        let running = self.begin(from_ref(event).addr(), event.__keep());
        self.poll(running, async { next.run(event).await }).await
    }
}
