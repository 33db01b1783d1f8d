//! The compile errors of synchronous calls whose handler is asynchronous.
//!
//! The lookup of such a call succeeds and yields [`Unasked`], which handles the message if the handler
//! implements one of the traits below. No asynchronous handler does, and their error texts give the reason.
//! A call that finds a handler of its own kind does not use these traits, so they cost it no compile
//! time.

use crate::handler::{CommandHandler, QueryHandler};
use crate::message::{Command, Query};
use core::marker::PhantomData;

/// The asynchronous handler `H` as the result of a synchronous lookup.
///
/// Private, so that rustc omits it from its lists of types that implement `QueryHandler`.
pub(crate) struct Unasked<H>(pub(super) PhantomData<fn(&H)>);

/// A handler that answers query `Q` synchronously. Never implemented.
#[diagnostic::on_unimplemented(
    message = "query `{Q}` has an asynchronous handler",
    label = "`{Q}` cannot be sent without waiting",
    note = "use `send_async` and `.await` the answer; in a handler this means `B: AsyncSendQuery<{Q}>`, and that the handler is asynchronous too"
)]
pub trait AnswersAtOnce<Q: Query> {
    #[doc(hidden)]
    fn answer(query: Q) -> Q::Response;
}
impl<Q: Query, B: ?Sized, H: AnswersAtOnce<Q>> QueryHandler<Q, B> for Unasked<H> {
    fn handle(&self, query: Q, _: &B) -> Q::Response {
        H::answer(query)
    }
}

/// A handler that handles command `C` synchronously. Never implemented.
#[diagnostic::on_unimplemented(
    message = "command `{C}` has an asynchronous handler",
    label = "`{C}` cannot be executed without waiting",
    note = "use `execute_async` and `.await` it; in a handler this means `B: AsyncExecuteCommand<{C}>`, and that the handler is asynchronous too"
)]
pub trait ActsAtOnce<C: Command> {
    #[doc(hidden)]
    fn act(command: C) -> C::Output;
}
impl<C: Command, B: ?Sized, H: ActsAtOnce<C>> CommandHandler<C, B> for Unasked<H> {
    fn handle(&self, command: C, _: &B) -> C::Output {
        H::act(command)
    }
}

/// A subscriber that handles event `E` synchronously.
#[diagnostic::on_unimplemented(
    message = "event `{E}` has an asynchronous subscriber",
    label = "`{E}` cannot be published without waiting",
    note = "use `publish_async` and `.await` it; in a handler this means `B: AsyncPublishEvent<{E}>`, and that the handler is asynchronous too"
)]
pub trait HearsAtOnce<E> {}
/// A list of such subscribers.
pub(crate) trait AllAtOnce<E> {}
