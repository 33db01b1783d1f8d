//! The layer that makes a span for each run of a handler.

#[cfg(feature = "async")]
mod asynchronous;

use super::{AroundCommand, AroundEvent, AroundQuery, Layer};
use crate::message::{Command, Event, Query, is_failure};
use crate::wiring::{Kind, Registration};
use core::any::type_name;
use tracing::{Span, field::Empty, info_span};

/// A layer that makes a [`tracing`] span for each run of a handler, with the level `INFO` and the target `static_bus`.
///
/// ```
/// use static_bus::{layer::Traced, prelude::*};
/// struct Double(u32);
/// query!(Double -> u32);
/// let bus = BusBuilder::new().register_query_fn(|n: Double| n.0 * 2).layer(Traced).build();
/// assert_eq!(bus.send::<Double>(Double(21)), 42);
/// ```
///
/// The name of the span is the kind of the message: `query`, `command` or `event`. A message that a handler sends within
/// its span makes a child of it. An asynchronous handler is in its span whenever it is polled.
///
/// The fields are those of OpenTelemetry's conventions for
/// [messaging](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), and those that
/// `tracing-opentelemetry` reads:
///
/// | field | value |
/// |---|---|
/// | `otel.name` | the kind and the name of the message: `query users.get` |
/// | `otel.kind` | `client` for a query to a remote handler, `producer` for a command or an event to one, otherwise `internal` |
/// | `messaging.system` | `static_bus` |
/// | `messaging.operation.name`, `messaging.operation.type` | `send` to a remote handler, otherwise `process` |
/// | `messaging.destination.name` | the name of the message |
/// | `code.function.name` | the handler |
/// | `server.address` | the address of the broker, instead of `code.function.name` if the handler is remote |
/// | `otel.status_code` | `ERROR`, if the handler returned an error |
/// | `otel.status_description` | the text of the `BusError` of an asynchronous handler |
/// | `error.type` | the kind of the `BusError`, such as `timeout`; of a synchronous handler, the type of its error |
///
/// A query's response is its answer, even if it is an `Err`. A span whose handler panicked or was cancelled ends without a
/// status. The fields differ from OpenTelemetry's conventions in two points: `server.address` has the port as well, and
/// `otel.kind` of a handler that a worker calls is `internal`, since a layer does not see the worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traced;

/// The spans of one handler of [`Traced`].
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Tracing(Registration);

impl Layer for Traced {
    type Around = Tracing;
    fn around(&self, registration: Registration) -> Tracing {
        Tracing(registration)
    }
}

impl Tracing {
    fn span(&self) -> Span {
        let Registration {
            kind,
            message,
            handler,
            ..
        } = self.0;
        let remote = self.0.is_remote();
        let operation = if remote { "send" } else { "process" };
        let role = match kind {
            _ if !remote => "internal",
            Kind::Query => "client",
            Kind::Command | Kind::Event => "producer",
        };
        // The name of a span is a constant of its source line.
        macro_rules! span {
            ($name:literal) => {
                info_span!(
                    target: "static_bus",
                    $name,
                    otel.name = %format_args!("{kind} {message}"),
                    otel.kind = role,
                    otel.status_code = Empty,
                    otel.status_description = Empty,
                    error.type = Empty,
                    messaging.system = "static_bus",
                    messaging.operation.name = operation,
                    messaging.operation.type = operation,
                    messaging.destination.name = message,
                    code.function.name = (!remote).then_some(handler),
                    server.address = remote.then_some(handler),
                )
            };
        }
        match kind {
            Kind::Query => span!("query"),
            Kind::Command => span!("command"),
            Kind::Event => span!("event"),
        }
    }
}

fn record_failure(span: &Span, error_type: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error_type);
}

/// The type name of `E` in `Result<(), E>`.
fn error_type<Output>() -> &'static str {
    let output = type_name::<Output>();
    let error = output.strip_prefix("core::result::Result<(), ");
    error
        .and_then(|error| error.strip_suffix('>'))
        .unwrap_or("_OTHER")
}

impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Tracing {
    fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
        self.span().in_scope(|| next(query))
    }
}
impl<C: Command, B: ?Sized> AroundCommand<C, B> for Tracing {
    fn command(&self, command: C, _bus: &B, next: impl Fn(C) -> C::Output) -> C::Output {
        let span = self.span();
        let output = span.in_scope(|| next(command));
        if is_failure(&output) {
            record_failure(&span, error_type::<C::Output>());
        }
        output
    }
}
impl<E: Event, B: ?Sized> AroundEvent<E, B> for Tracing {
    fn event(&self, event: &E, _bus: &B, next: impl Fn(&E) -> E::Output) -> E::Output {
        let span = self.span();
        let output = span.in_scope(|| next(event));
        if is_failure(&output) {
            record_failure(&span, error_type::<E::Output>());
        }
        output
    }
}
