//! The layer that counts the runs of handlers and their durations.

#[cfg(feature = "async")]
mod asynchronous;

use super::{AroundCommand, AroundEvent, AroundQuery, Layer};
use crate::message::{Command, Event, Query, is_failure};
use crate::wiring::Registration;
use metrics::{Counter, Histogram, counter, histogram};
use std::string::ToString;
use std::time::Instant;

/// A layer that counts the calls of each handler and measures their durations, through the [`metrics`] facade.
///
/// ```
/// use static_bus::{layer::Metered, prelude::*};
/// struct Double(u32);
/// query!(Double -> u32);
/// let bus = BusBuilder::new().register_query_fn(|n: Double| n.0 * 2).layer(Metered).build();
/// assert_eq!(bus.send::<Double>(Double(21)), 42);
/// ```
///
/// | metric | type | content |
/// |---|---|---|
/// | `static_bus_calls_total` | counter | calls that have ended |
/// | `static_bus_failed_calls_total` | counter | those of them that failed: the handler of a command or event returned an error, an asynchronous handler any error, or the handler panicked or was cancelled |
/// | `static_bus_call_seconds` | histogram | the duration of a call, that of nested calls included |
///
/// A query's response is its answer, even if it is an `Err`.
///
/// The labels are `kind` (`query`, `command` or `event`), `message` and `handler`; around a client, `handler` is the
/// address of the broker. The metrics belong to the recorder that is installed when the layer is added: install it before
/// the bus is built.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metered;

/// The metrics of one handler of [`Metered`].
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Metering {
    calls: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl Layer for Metered {
    type Around = Metering;
    fn around(&self, registration: Registration) -> Metering {
        let Registration {
            kind,
            message,
            handler,
            ..
        } = registration;
        let kind = kind.to_string();
        let labels = [("kind", &*kind), ("message", message), ("handler", handler)];
        let labels = labels.map(|(name, value)| (name, value.to_string()));
        Metering {
            calls: counter!("static_bus_calls_total", &labels),
            failed: counter!("static_bus_failed_calls_total", &labels),
            seconds: histogram!("static_bus_call_seconds", &labels),
        }
    }
}

/// A call under way. It has failed if it is dropped before it succeeds.
struct Call<'m> {
    metering: &'m Metering,
    began: Instant,
    succeeded: bool,
}
impl Metering {
    fn begin(&self) -> Call<'_> {
        Call {
            metering: self,
            began: Instant::now(),
            succeeded: false,
        }
    }
}
impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.metering.seconds.record(self.began.elapsed());
        self.metering.calls.increment(1);
        if !self.succeeded {
            self.metering.failed.increment(1);
        }
    }
}

impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Metering {
    fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
        let mut call = self.begin();
        let response = next(query);
        call.succeeded = true;
        response
    }
}
impl<C: Command, B: ?Sized> AroundCommand<C, B> for Metering {
    fn command(&self, command: C, _bus: &B, next: impl Fn(C) -> C::Output) -> C::Output {
        let mut call = self.begin();
        let output = next(command);
        call.succeeded = !is_failure(&output);
        output
    }
}
impl<E: Event, B: ?Sized> AroundEvent<E, B> for Metering {
    fn event(&self, event: &E, _bus: &B, next: impl Fn(&E) -> E::Output) -> E::Output {
        let mut call = self.begin();
        let output = next(event);
        call.succeeded = !is_failure(&output);
        output
    }
}
