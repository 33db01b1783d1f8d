//! What a service implements, and the adapters that let closures do the same.

use crate::message::{Command, Event, Query};

/// Answers a query.
#[diagnostic::on_unimplemented(message = "`{Self}` does not handle query `{Q}`")]
pub trait QueryHandler<Q: Query, B: ?Sized> {
    /// Answers `query`; `bus` is the bus it came through.
    fn handle(&self, query: Q, bus: &B) -> Q::Response;
}

/// Carries out a command.
#[diagnostic::on_unimplemented(message = "`{Self}` does not handle command `{C}`")]
pub trait CommandHandler<C: Command, B: ?Sized> {
    /// Carries out `command`; `bus` is the bus it came through.
    fn handle(&self, command: C, bus: &B) -> C::Output;
}

/// Hears an event.
#[diagnostic::on_unimplemented(message = "`{Self}` does not handle event `{E}`")]
pub trait EventHandler<E: Event, B: ?Sized> {
    /// Hears `event`; `bus` is the bus it came through.
    fn handle(&self, event: &E, bus: &B) -> E::Output;
}

macro_rules! through {
    ($($pointer:ty),*) => { $(
        impl<Q: Query, B: ?Sized, H: QueryHandler<Q, B> + ?Sized> QueryHandler<Q, B> for $pointer {
            #[inline]
            fn handle(&self, query: Q, bus: &B) -> Q::Response { (**self).handle(query, bus) }
        }
        impl<C: Command, B: ?Sized, H: CommandHandler<C, B> + ?Sized> CommandHandler<C, B> for $pointer {
            #[inline]
            fn handle(&self, command: C, bus: &B) -> C::Output { (**self).handle(command, bus) }
        }
        impl<E: Event, B: ?Sized, H: EventHandler<E, B> + ?Sized> EventHandler<E, B> for $pointer {
            #[inline]
            fn handle(&self, event: &E, bus: &B) -> E::Output { (**self).handle(event, bus) }
        }
    )* };
}
through!(&H);
#[cfg(feature = "alloc")]
through!(alloc::boxed::Box<H>, alloc::rc::Rc<H>, alloc::sync::Arc<H>);

/// A function as a handler of one kind of message; made by the builder's `…_fn` methods.
#[derive(Clone, Copy)]
pub struct Function<F>(pub(crate) F);

impl Function<()> {
    /// How the type name of any `Function` begins.
    pub(crate) const PATH: &str = concat!(module_path!(), "::Function<");
}

impl<Q: Query, B: ?Sized, F: Fn(Q) -> Q::Response> QueryHandler<Q, B> for Function<F> {
    #[inline]
    fn handle(&self, query: Q, _: &B) -> Q::Response {
        (self.0)(query)
    }
}
impl<C: Command, B: ?Sized, F: Fn(C) -> C::Output> CommandHandler<C, B> for Function<F> {
    #[inline]
    fn handle(&self, command: C, _: &B) -> C::Output {
        (self.0)(command)
    }
}
impl<E: Event, B: ?Sized, F: Fn(&E) -> E::Output> EventHandler<E, B> for Function<F> {
    #[inline]
    fn handle(&self, event: &E, _: &B) -> E::Output {
        (self.0)(event)
    }
}
