//! The measurement of one call.

use super::nesting::Slot;
use super::record::{Counter, Record};
#[cfg(feature = "async")]
use crate::asynchronous::BusError;
use crate::layer::{AroundCommand, AroundEvent, AroundQuery};
#[cfg(feature = "async")]
use crate::layer::{
    AsyncAroundCommand, AsyncAroundEvent, AsyncAroundQuery, NextCommand, NextEvent, NextQuery,
};
use crate::message::{Command, Event, Query};
use alloc::sync::Arc;
#[cfg(feature = "async")]
use core::{future::poll_fn, pin::pin};
use quanta::Clock;

/// What [`Timed`](super::Timed) puts around one handler.
#[doc(hidden)]
pub struct Timing<C> {
    record: Arc<Record<C>>,
    clock: Clock,
    slot: Slot,
}
impl<C> Clone for Timing<C> {
    fn clone(&self) -> Self {
        Timing {
            record: Arc::clone(&self.record),
            clock: self.clock.clone(),
            slot: self.slot,
        }
    }
}

impl<C: Counter> Timing<C> {
    pub(super) fn new(record: Arc<Record<C>>, clock: Clock, slot: Slot) -> Self {
        Timing {
            record,
            clock,
            slot,
        }
    }
    pub(super) fn record(&self) -> &Record<C> {
        &self.record
    }

    /// Measures from here to the drop of the span, which gives the total and the exclusive ticks to `ended`. A panic
    /// also drops it.
    #[inline]
    fn span<F: FnMut(u64, u64)>(&self, ended: F) -> Span<'_, F> {
        Span {
            clock: &self.clock,
            slot: self.slot,
            // Of the callees that the caller has had so far.
            before: self.slot.replace(0),
            start: self.clock.raw(),
            ended,
        }
    }
    #[inline]
    fn call(&self) -> Span<'_, impl FnMut(u64, u64)> {
        self.span(|total, exclusive| self.record.add(total, exclusive))
    }
}

struct Span<'a, F: FnMut(u64, u64)> {
    clock: &'a Clock,
    slot: Slot,
    before: u64,
    start: u64,
    ended: F,
}
impl<F: FnMut(u64, u64)> Drop for Span<'_, F> {
    #[inline]
    fn drop(&mut self) {
        // The clocks of two cores may differ by a few ticks.
        let total = self.clock.raw().saturating_sub(self.start);
        let callees = self.slot.replace(self.before + total);
        (self.ended)(total, total.saturating_sub(callees));
    }
}

impl<Q: Query, B: ?Sized, C: Counter> AroundQuery<Q, B> for Timing<C> {
    #[inline]
    fn query(&self, query: Q, _: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
        let _call = self.call();
        next(query)
    }
}
impl<M: Command, B: ?Sized, C: Counter> AroundCommand<M, B> for Timing<C> {
    #[inline]
    fn command(&self, command: M, _: &B, next: impl Fn(M) -> M::Output) -> M::Output {
        let _call = self.call();
        next(command)
    }
}
impl<E: Event, B: ?Sized, C: Counter> AroundEvent<E, B> for Timing<C> {
    #[inline]
    fn event(&self, event: &E, _: &B, next: impl Fn(&E) -> E::Output) -> E::Output {
        let _call = self.call();
        next(event)
    }
}

/// An asynchronous call, from its first poll to its drop.
#[cfg(feature = "async")]
struct AsyncCall<'a, C: Counter> {
    timing: &'a Timing<C>,
    start: u64,
    exclusive: u64,
}
#[cfg(feature = "async")]
impl<C: Counter> AsyncCall<'_, C> {
    #[inline]
    fn poll<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        let _poll = self.timing.span(|_, exclusive| self.exclusive += exclusive);
        poll()
    }
}
#[cfg(feature = "async")]
impl<C: Counter> Drop for AsyncCall<'_, C> {
    #[inline]
    fn drop(&mut self) {
        let total = self.timing.clock.raw().saturating_sub(self.start);
        self.timing.record.add(total, self.exclusive);
    }
}

/// The impl for one kind of asynchronous handler.
#[cfg(feature = "async")]
macro_rules! async_kind {
    (
        $Around:ident $Next:ident $M:ident: $Kind:ident + $Shared:ident,
        $around:ident, $message:ident: $Message:ty => $Output:ty
    ) => {
        impl<$M: $Kind + $Shared, B: ?Sized, C: Counter + Send + Sync> $Around<$M, B>
            for Timing<C>
        {
            #[inline]
            async fn $around(
                &self,
                $message: $Message,
                _: &B,
                next: impl $Next<$M>,
            ) -> Result<$Output, BusError> {
                // The part of a handler before its future is a part of the first poll.
                let mut future = pin!(async { next.run($message).await });
                let mut call = AsyncCall {
                    timing: self,
                    start: self.clock.raw(),
                    exclusive: 0,
                };
                poll_fn(|context| call.poll(|| future.as_mut().poll(context))).await
            }
        }
    };
}
#[cfg(feature = "async")]
async_kind!(AsyncAroundQuery NextQuery Q: Query + Send, query, query: Q => Q::Response);
#[cfg(feature = "async")]
async_kind!(AsyncAroundCommand NextCommand M: Command + Send, command, command: M => ());
#[cfg(feature = "async")]
async_kind!(AsyncAroundEvent NextEvent E: Event + Sync, event, event: &E => ());
