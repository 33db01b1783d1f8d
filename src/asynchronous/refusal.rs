//! Why a call that does not wait cannot reach a handler that does.
//!
//! Such a call finds the handler: the lookup always answers. What it finds is [`Unasked`], which would
//! handle the message if the handler implemented one of the traits below. Nobody does, and their texts
//! say so. A call that finds a handler of its own kind meets none of this, so it costs the compiler
//! nothing.

use crate::handler::{CommandHandler, QueryHandler};
use crate::message::{Command, Query};
use core::marker::PhantomData;

/// The asynchronous handler `H` in the place of one that does not wait.
///
/// It is private so that rustc does not offer it where it lists what implements `QueryHandler`.
pub(crate) struct Unasked<H>(pub(super) PhantomData<fn(&H)>);

/// Answers query `Q` without waiting. No asynchronous handler does.
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

/// Carries out command `C` without waiting. No asynchronous handler does.
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

/// Hears event `E` without waiting. No asynchronous subscriber does.
#[diagnostic::on_unimplemented(
    message = "event `{E}` has an asynchronous subscriber",
    label = "`{E}` cannot be published without waiting",
    note = "use `publish_async` and `.await` it; in a handler this means `B: AsyncPublishEvent<{E}>`, and that the handler is asynchronous too"
)]
pub trait HearsAtOnce<E> {}
