//! Layers: code around handlers, for spans, timing, metrics, validation, authorization, retries.
//!
//! Ready-made: [`Authorized`] and [`Validated`]; `Timed` with the feature `timing`; `Traced` with `tracing`; `Metered` with `metrics`; `Timeout`, `Retry`, `ConcurrencyLimit` and `RateLimit` with
//! the feature `tokio`; `Recorder` with the feature `testing`.
//!
//! A [`Layer`] is put around the handlers of a module or of a whole bus. It makes one
//! [`Around`](Layer::Around) for each handler when it is added, so what a handler needs (a counter, a
//! histogram) is there before the first message. A message then passes it by a direct call; a bus without
//! layers has none.
//!
//! ```
//! use std::{cell::Cell, rc::Rc};
//! use static_bus::{layer::{AroundQuery, Layer}, prelude::*, wiring::Registration};
//!
//! /// Counts the queries of each handler.
//! #[derive(Default)]
//! struct Counted;
//! struct Count(Cell<u64>, Registration);
//!
//! impl Layer for Counted {
//!     type Around = Count;
//!     fn around(&self, registration: Registration) -> Count {
//!         Count(Cell::new(0), registration)
//!     }
//! }
//! impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Count {
//!     fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
//!         self.0.set(self.0.get() + 1);
//!         next(query)
//!     }
//! }
//!
//! struct Double(u32);
//! query!(Double -> u32);
//! let bus = BusBuilder::new().register_query_fn(|n: Double| n.0 * 2).layer(Counted).build();
//! assert_eq!(bus.send::<Double>(Double(21)), 42);
//! ```
//!
//! - A layer is around each handler that is registered **before** it, as axum's `layer`. The layer added last is
//!   the outermost. [`Module::layer`](crate::module::Module::layer) puts one around a module, or around one entry.
//! - `AroundQuery<Q, B>` is a trait of the message and of the bus. A layer may ask more of a message
//!   (`impl<C: Command + Requires<Role>, B> AroundCommand<C, B> for …`), and a message without it does not
//!   compile under that layer. It may ask something of the bus (`B: PublishEvent<Audited>`).
//! - A layer implements the kinds of messages that it is meant for. Around a handler of another kind it does not
//!   compile.
//! - A layer may answer without calling `next`, change the message, and call `next` several times.
//! - Each message that a handler sends passes the layers of the handler that receives it.
//! - A synchronous handler passes [`AroundQuery`], [`AroundCommand`] or [`AroundEvent`], also if the call is
//!   asynchronous. An asynchronous handler passes `AsyncAroundQuery`, `AsyncAroundCommand` or `AsyncAroundEvent`, and
//!   so do all subscribers of an event that has an asynchronous subscriber when the layer is added.

#[cfg(feature = "async")]
mod asynchronous;
mod authorized;
mod examine;
#[cfg(feature = "metrics")]
mod metered;
mod module;
#[cfg(feature = "tokio")]
mod resilience;
mod stack;
#[cfg(feature = "timing")]
mod timed;
#[cfg(feature = "tracing")]
mod traced;
mod validated;
mod wrapped;

#[cfg(all(
    feature = "async",
    any(feature = "metrics", feature = "tokio", feature = "tracing")
))]
use asynchronous::around_future;
#[cfg(feature = "async")]
pub use asynchronous::{
    AsyncAroundCommand, AsyncAroundEvent, AsyncAroundQuery, NextCommand, NextEvent, NextQuery,
};
pub use authorized::{Authorized, Policy, Requires};
#[cfg(feature = "metrics")]
pub use metered::{Metered, Metering};
pub use module::Layered;
#[cfg(feature = "tokio")]
pub use resilience::{ConcurrencyLimit, RateLimit, Retry, Timeout};
pub(crate) use stack::STACK;
#[doc(hidden)]
pub use stack::Stack;
#[cfg(feature = "timing")]
pub use timed::{Counter, HandlerTimes, PercentileError, Report, Timed, Timing};
#[cfg(feature = "tracing")]
pub use traced::{Traced, Tracing};
pub use validated::{Validate, Validated};
pub(crate) use wrapped::WRAPPED;
#[doc(hidden)]
pub use wrapped::Wrapped;

use crate::message::{Command, Event, Query};
use crate::wiring::Registration;

/// A layer: code around handlers. `&L`, `Rc<L>` and `Arc<L>` are layers if `L` is one.
///
/// ```
/// use static_bus::{layer::{AroundCommand, Layer}, prelude::*, wiring::Registration};
///
/// struct Printed;
/// struct Line(&'static str);
/// impl Layer for Printed {
///     type Around = Line;
///     fn around(&self, registration: Registration) -> Line {
///         Line(registration.message)
///     }
/// }
/// impl<C: Command, B: ?Sized> AroundCommand<C, B> for Line {
///     fn command(&self, command: C, _bus: &B, next: impl Fn(C) -> C::Output) -> C::Output {
///         println!("{}", self.0);
///         next(command)
///     }
/// }
///
/// struct Stop;
/// command!(Stop);
/// let bus = BusBuilder::new().register_command_fn(|_: Stop| ()).layer(Printed).build();
/// bus.execute(Stop);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer",
    label = "not a layer",
    note = "implement `static_bus::layer::Layer` for it"
)]
pub trait Layer {
    /// What goes around one handler. It implements one or more of [`AroundQuery`], [`AroundCommand`],
    /// [`AroundEvent`] and their asynchronous counterparts.
    type Around;
    /// Makes what goes around one handler. Called once for each handler, when the layer is added.
    fn around(&self, registration: Registration) -> Self::Around;
}

macro_rules! through {
    ($($pointer:ty),*) => { $(
        impl<L: Layer + ?Sized> Layer for $pointer {
            type Around = L::Around;
            fn around(&self, registration: Registration) -> L::Around {
                (**self).around(registration)
            }
        }
    )* };
}
through!(&L);
#[cfg(feature = "alloc")]
through!(alloc::rc::Rc<L>, alloc::sync::Arc<L>);

/// Goes around the handler of query `Q` on the bus `B`.
#[diagnostic::on_unimplemented(
    message = "layer `{Self}` does not go around query `{Q}`",
    label = "a layer that `{Q}` cannot pass",
    note = "implement it: `impl<B: ?Sized> AroundQuery<{Q}, B> for {Self}`, or register `{Q}` after the layer"
)]
pub trait AroundQuery<Q: Query, B: ?Sized> {
    /// Answers `query`, usually with `next`, which is the handler within the inner layers. `bus` is the bus that
    /// dispatched it.
    fn query(&self, query: Q, bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response;
}

/// Goes around the handler of command `C` on the bus `B`.
#[diagnostic::on_unimplemented(
    message = "layer `{Self}` does not go around command `{C}`",
    label = "a layer that `{C}` cannot pass",
    note = "implement it: `impl<B: ?Sized> AroundCommand<{C}, B> for {Self}`, or register `{C}` after the layer"
)]
pub trait AroundCommand<C: Command, B: ?Sized> {
    /// Handles `command`, usually with `next`, which is the handler within the inner layers. `bus` is the bus that
    /// dispatched it.
    ///
    /// # Errors
    /// The error of the handler, or one of the layer, if the command's output is a `Result`.
    fn command(&self, command: C, bus: &B, next: impl Fn(C) -> C::Output) -> C::Output;
}

/// Goes around each subscriber of event `E` on the bus `B`.
#[diagnostic::on_unimplemented(
    message = "layer `{Self}` does not go around event `{E}`",
    label = "a layer that `{E}` cannot pass",
    note = "implement it: `impl<B: ?Sized> AroundEvent<{E}, B> for {Self}`, or subscribe to `{E}` after the layer"
)]
pub trait AroundEvent<E: Event, B: ?Sized> {
    /// Handles `event`, usually with `next`, which is one subscriber within the inner layers. `bus` is the bus that
    /// dispatched it.
    ///
    /// # Errors
    /// The error of the subscriber, or one of the layer, if the event's output is a `Result`.
    fn event(&self, event: &E, bus: &B, next: impl Fn(&E) -> E::Output) -> E::Output;
}
