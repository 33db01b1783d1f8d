//! Layers around asynchronous handlers.

use super::{Layer, Stack, Wrapped};
use crate::asynchronous::{AsyncCommandHandler, AsyncEventHandler, AsyncQueryHandler, BusError};
use crate::message::{Command, Event, Query};

/// The asynchronous handler of query `Q`, within the inner layers.
pub trait NextQuery<Q: Query>: Send + Sync {
    /// Answers the query.
    ///
    /// # Errors
    /// The error of the handler, or of an inner layer.
    fn run(&self, query: Q) -> impl Future<Output = Result<Q::Response, BusError>> + Send;
}
/// The asynchronous handler of command `C`, within the inner layers.
pub trait NextCommand<C: Command>: Send + Sync {
    /// Handles the command.
    ///
    /// # Errors
    /// The error of the handler, or of an inner layer.
    fn run(&self, command: C) -> impl Future<Output = Result<(), BusError>> + Send;
}
/// An asynchronous subscriber of event `E`, within the inner layers.
pub trait NextEvent<E: Event>: Send + Sync {
    /// Handles the event.
    ///
    /// # Errors
    /// The error of the subscriber, or of an inner layer.
    fn run(&self, event: &E) -> impl Future<Output = Result<(), BusError>> + Send;
}

/// Goes around the asynchronous handler of query `Q` on the bus `B`.
///
/// ```
/// use static_bus::{asynchronous::BusError, layer::*, prelude::*, wiring::Registration};
///
/// /// Sends a query again after an error that may pass.
/// #[derive(Clone)]
/// struct Again;
/// impl Layer for Again {
///     type Around = Again;
///     fn around(&self, _: Registration) -> Again { Again }
/// }
/// impl<Q: Query<Response: Send> + Clone + Send + Sync, B: ?Sized> AsyncAroundQuery<Q, B> for Again {
///     async fn query(&self, query: Q, _bus: &B, next: impl NextQuery<Q>) -> Result<Q::Response, BusError> {
///         match next.run(query.clone()).await {
///             Err(error) if error.is_retryable() => next.run(query).await,
///             answer => answer,
///         }
///     }
/// }
///
/// #[derive(Clone)]
/// struct Double(u32);
/// query!(Double -> u32);
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let bus = BusBuilder::new()
///     .register_query_async_fn(|query: Double| async move { Ok(query.0 * 2) })
///     .layer(Again)
///     .build();
/// assert_eq!(bus.send_async(Double(21)).await.unwrap(), 42);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "layer `{Self}` does not go around asynchronous query `{Q}`",
    label = "a layer that `{Q}` cannot pass",
    note = "implement it: `impl<B: ?Sized> AsyncAroundQuery<{Q}, B> for {Self}`, or register `{Q}` after the layer"
)]
pub trait AsyncAroundQuery<Q: Query, B: ?Sized> {
    /// Answers `query`, usually with `next`. `bus` is the bus that dispatched it.
    ///
    /// # Errors
    /// The error of the handler, or one of the layer.
    fn query(
        &self,
        query: Q,
        bus: &B,
        next: impl NextQuery<Q>,
    ) -> impl Future<Output = Result<Q::Response, BusError>> + Send
    where
        B: Sync;
}

/// Goes around the asynchronous handler of command `C` on the bus `B`.
#[diagnostic::on_unimplemented(
    message = "layer `{Self}` does not go around asynchronous command `{C}`",
    label = "a layer that `{C}` cannot pass",
    note = "implement it: `impl<B: ?Sized> AsyncAroundCommand<{C}, B> for {Self}`, or register `{C}` after the layer"
)]
pub trait AsyncAroundCommand<C: Command, B: ?Sized> {
    /// Handles `command`, usually with `next`. `bus` is the bus that dispatched it.
    ///
    /// # Errors
    /// The error of the handler, or one of the layer.
    fn command(
        &self,
        command: C,
        bus: &B,
        next: impl NextCommand<C>,
    ) -> impl Future<Output = Result<(), BusError>> + Send
    where
        B: Sync;
}

/// Goes around each asynchronous subscriber of event `E` on the bus `B`.
#[diagnostic::on_unimplemented(
    message = "layer `{Self}` does not go around asynchronous event `{E}`",
    label = "a layer that `{E}` cannot pass",
    note = "implement it: `impl<B: ?Sized> AsyncAroundEvent<{E}, B> for {Self}`, or subscribe to `{E}` after the layer"
)]
pub trait AsyncAroundEvent<E: Event, B: ?Sized> {
    /// Handles `event`, usually with `next`. `bus` is the bus that dispatched it.
    ///
    /// # Errors
    /// The error of the subscriber, or one of the layer.
    fn event(
        &self,
        event: &E,
        bus: &B,
        next: impl NextEvent<E>,
    ) -> impl Future<Output = Result<(), BusError>> + Send
    where
        B: Sync;
}

/// A handler and the bus that it receives.
// Each reference has a lifetime of its own, because the future of a layer names it.
struct Innermost<'h, 'b, H, B: ?Sized> {
    handler: &'h H,
    bus: &'b B,
}
/// A layer, the bus that it receives, and what is within it.
struct Inner<'a, 'b, A, B: ?Sized, N> {
    around: &'a A,
    bus: &'b B,
    next: N,
}

/// The impls for one kind of message: of a handler within a layer, and of a stack of layers.
macro_rules! kind {
    (
        $Handler:ident $Around:ident $Next:ident $M:ident: $Kind:ident, $around:ident,
        $message:ident: $Message:ty => $Output:ty
    ) => {
        impl<$M, B, H> $Next<$M> for Innermost<'_, '_, H, B>
        where
            $M: $Kind,
            B: Sync + ?Sized,
            H: $Handler<$M, B> + Sync,
        {
            #[inline]
            fn run(
                &self,
                $message: $Message,
            ) -> impl Future<Output = Result<$Output, BusError>> + Send {
                self.handler.handle($message, self.bus)
            }
        }
        impl<$M, B, A, N> $Next<$M> for Inner<'_, '_, A, B, N>
        where
            $M: $Kind,
            B: Sync + ?Sized,
            A: $Around<$M, B> + Sync,
            N: $Next<$M>,
        {
            #[inline]
            fn run(
                &self,
                $message: $Message,
            ) -> impl Future<Output = Result<$Output, BusError>> + Send {
                self.around.$around($message, self.bus, &self.next)
            }
        }
        impl<$M: $Kind, N: $Next<$M>> $Next<$M> for &N {
            #[inline]
            fn run(
                &self,
                $message: $Message,
            ) -> impl Future<Output = Result<$Output, BusError>> + Send {
                (**self).run($message)
            }
        }
        impl<$M, B, H, L> $Handler<$M, B> for Wrapped<H, L>
        where
            $M: $Kind,
            B: ?Sized,
            H: $Handler<$M, B> + Sync,
            L: Layer<Around: $Around<$M, B> + Sync>,
        {
            #[inline]
            fn handle(
                &self,
                $message: $Message,
                bus: &B,
            ) -> impl Future<Output = Result<$Output, BusError>> + Send
            where
                B: Sync,
            {
                let handler = &self.handler;
                self.around
                    .$around($message, bus, Innermost { handler, bus })
            }
        }
        impl<$M, B, I, O> $Around<$M, B> for Stack<I, O>
        where
            $M: $Kind,
            B: ?Sized,
            I: $Around<$M, B> + Sync,
            O: $Around<$M, B>,
        {
            #[inline]
            fn $around(
                &self,
                $message: $Message,
                bus: &B,
                next: impl $Next<$M>,
            ) -> impl Future<Output = Result<$Output, BusError>> + Send
            where
                B: Sync,
            {
                let around = &self.0;
                self.1.$around($message, bus, Inner { around, bus, next })
            }
        }
    };
}
kind!(AsyncQueryHandler AsyncAroundQuery NextQuery Q: Query, query, query: Q => Q::Response);
kind!(AsyncCommandHandler AsyncAroundCommand NextCommand C: Command, command, command: C => ());
kind!(AsyncEventHandler AsyncAroundEvent NextEvent E: Event, event, event: &E => ());

/// The three impls of what goes around an asynchronous handler, by its method `run`, which gets the name of the message and
/// the future of the call.
#[cfg(any(feature = "metrics", feature = "tokio", feature = "tracing"))]
macro_rules! around_future {
    ($Around:ident) => {
        $crate::layer::around_future!(@kind $Around AsyncAroundQuery NextQuery Q: Query + Send, query, query: Q => Q::Response);
        $crate::layer::around_future!(@kind $Around AsyncAroundCommand NextCommand C: Command + Send, command, command: C => ());
        $crate::layer::around_future!(@kind $Around AsyncAroundEvent NextEvent E: Event + Sync, event, event: &E => ());
    };
    (
        @kind $Layer:ident $Around:ident $Next:ident $M:ident: $Kind:ident + $Shared:ident,
        $around:ident, $message:ident: $Message:ty => $Output:ty
    ) => {
        impl<$M: $crate::message::$Kind + $Shared, B: ?Sized> $crate::layer::$Around<$M, B> for $Layer {
            async fn $around(
                &self,
                $message: $Message,
                _bus: &B,
                next: impl $crate::layer::$Next<$M>,
            ) -> Result<$Output, $crate::asynchronous::BusError> {
                // The part of a handler before its future is within the layer too.
                let name = <$M as $crate::message::Message>::NAME;
                self.run(name, async { next.run($message).await }).await
            }
        }
    };
}
#[cfg(any(feature = "metrics", feature = "tokio", feature = "tracing"))]
pub(super) use around_future;
