//! The mailbox: a queue of posted messages, which `settle` delivers. It allows message cycles without
//! recursion.
//!
//! If a handler of `A` needs `B` and a handler of `B` needs `A`, each requirement depends on the
//! other, and the compiler reports an overflow (E0275). A handler that *posts* a message requires only
//! that the mailbox lists the message, which breaks the cycle:
//!
//! ```
//! use static_bus::prelude::*;
//!
//! struct Ping(u32);
//! event!(Ping);
//! struct Pong(u32);
//! event!(Pong);
//!
//! mailbox! { pub enum Rally { event Ping, event Pong } }
//!
//! struct Left;
//! impl<B: PostMessage<Ping>> EventHandler<Pong, B> for Left {
//!     fn handle(&self, pong: &Pong, bus: &B) {
//!         if pong.0 > 0 {
//!             bus.post(Ping(pong.0 - 1));
//!         }
//!     }
//! }
//! struct Right;
//! impl<B: PostMessage<Pong>> EventHandler<Ping, B> for Right {
//!     fn handle(&self, ping: &Ping, bus: &B) {
//!         bus.post(Pong(ping.0));
//!     }
//! }
//!
//! let bus = BusBuilder::new()
//!     .subscribe::<Pong, _>(Left)
//!     .subscribe::<Ping, _>(Right)
//!     .mailbox::<Rally>(8)
//!     .build();
//! bus.post(Ping(2));
//! assert_eq!(bus.settle(), Ok(6)); // three pings, three pongs
//! ```
//!
//! - Messages are delivered first in, first out. A message posted during a delivery runs after all
//!   subscribers of the message being delivered.
//! - Posting allocates only when the queue outgrows its capacity.
//! - Only events and commands whose output is `()` can be posted, because an error would be lost.
//! - If a handler panics, the panic unwinds to the caller of `settle`. The message it was handling is
//!   lost, as with a direct call; the others remain queued. If a message's `Clone` panics while the bus is
//!   cloned, all messages remain queued.

use crate::bus::{Bus, NoMailbox};
use crate::dispatch::{ExecuteCommand, PostMessage, PublishEvent};
use crate::message::{Command, Event, Message};
use crate::table::Wired;
use alloc::{boxed::Box, collections::VecDeque};
use core::{
    cell::{Cell, RefCell},
    error::Error,
    fmt,
};

/// The queue of posted messages of a bus; `C` is an enum declared with [`mailbox!`](crate::mailbox!).
///
/// A clone of a bus has a queue of its own with equal content. A bus with a mailbox is not `Sync`:
/// delivery is single-threaded.
///
/// ```
/// use static_bus::{mailbox::Mailbox, prelude::*};
/// struct Tick;
/// event!(Tick);
/// mailbox! { enum Cascade { event Tick } }
///
/// type AppBus = BusOf<HList![], Mailbox<Cascade>>;
/// let bus: AppBus = BusBuilder::new().mailbox::<Cascade>(4).build();
/// bus.post(Tick);
/// assert_eq!(bus.settle(), Ok(1));
/// ```
// Most cascades hold one message at a time, so the oldest message has a field of its own. The rest of
// the queue is behind a `Box`, so functions that are not inlined never take the address of that field:
// where the handlers are inlined, a message passes from `post` to its handler in registers.
pub struct Mailbox<C> {
    /// The number of queued messages, in `next` and `later` together.
    waiting: Cell<usize>,
    /// A message older than all of `later`. `None` is possible while `later` holds messages.
    next: Cell<Option<C>>,
    later: Box<RefCell<VecDeque<C>>>,
    pub(crate) limit: usize,
}
impl<C> Mailbox<C> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Mailbox {
            waiting: Cell::new(0),
            next: Cell::new(None),
            later: Box::new(RefCell::new(VecDeque::with_capacity(capacity))),
            limit: 1_000_000,
        }
    }

    #[inline]
    fn pop(&self) -> Option<C> {
        let waiting = self.waiting.get();
        if waiting == 0 {
            return None;
        }
        self.waiting.set(waiting - 1);
        match self.next.take() {
            None => self.later.borrow_mut().pop_front(),
            oldest => oldest,
        }
    }

    /// Puts the message popped last back in front.
    #[cold]
    fn unpop(&self, oldest: C) {
        self.next.set(Some(oldest));
        self.waiting.set(self.waiting.get() + 1);
    }

    /// Calls `look` with all messages in order. The oldest one is moved to `later` first and stays there,
    /// so that it is not lost if `look` panics.
    fn look<R>(&self, look: impl FnOnce(&VecDeque<C>) -> R) -> R {
        /// Corrects the number of messages, which a `look` that settles or posts has made wrong.
        struct Recount<'a, C>(&'a Mailbox<C>);
        impl<C> Drop for Recount<'_, C> {
            fn drop(&mut self) {
                self.0.waiting.set(self.0.later.borrow().len());
            }
        }
        if let Some(oldest) = self.next.take() {
            self.later.borrow_mut().push_front(oldest);
        }
        let _recount = Recount(self);
        look(&self.later.borrow())
    }
}
// Not inlined, so that the path of a single message stays small. It takes the box and not the mailbox,
// so that the mailbox can stay in registers.
#[cold]
#[inline(never)]
fn push_later<C>(later: &RefCell<VecDeque<C>>, content: C) {
    later.borrow_mut().push_back(content);
}

impl<C: Clone> Clone for Mailbox<C> {
    fn clone(&self) -> Self {
        let later = self.look(|all| {
            let mut copy = VecDeque::with_capacity(all.capacity());
            copy.extend(all.iter().cloned());
            copy
        });
        Mailbox {
            waiting: Cell::new(later.len()),
            next: Cell::new(None),
            later: Box::new(RefCell::new(later)),
            limit: self.limit,
        }
    }
}
impl<C: fmt::Debug> fmt::Debug for Mailbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look(|all| f.debug_list().entries(all).finish())
    }
}
impl<B, C: Cascade<B>> Wired<B> for Mailbox<C> {}

impl<T, O> Bus<T, O> {
    /// Appends a message to the mailbox; [`settle`](Bus::settle) delivers it.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use static_bus::prelude::*;
    /// struct Tick;
    /// event!(Tick);
    /// mailbox! { enum Cascade { event Tick } }
    /// let ticks = Cell::new(0);
    /// let bus = BusBuilder::new()
    ///     .subscribe_fn(|_: &Tick| ticks.set(ticks.get() + 1))
    ///     .mailbox::<Cascade>(4)
    ///     .build();
    /// bus.post(Tick);
    /// assert_eq!(ticks.get(), 0);
    /// bus.settle().unwrap();
    /// assert_eq!(ticks.get(), 1);
    /// ```
    #[inline]
    pub fn post<M: Message>(&self, message: M)
    where
        Self: PostMessage<M>,
    {
        PostMessage::post(self, message);
    }
}

impl<T, C: Cascade<Self>> Bus<T, Mailbox<C>> {
    /// Delivers posted messages in FIFO order until none is left; returns the number delivered.
    ///
    /// # Errors
    /// [`CascadeError`] if more messages than the
    /// [limit](crate::builder::BusBuilder::cascade_limit) would be delivered. Undelivered messages stay
    /// queued, and the next `settle` continues with them.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Tick(u32);
    /// event!(Tick);
    /// mailbox! { enum Cascade { event Tick } }
    /// struct CountDown;
    /// impl<B: PostMessage<Tick>> EventHandler<Tick, B> for CountDown {
    ///     fn handle(&self, tick: &Tick, bus: &B) {
    ///         if tick.0 > 0 { bus.post(Tick(tick.0 - 1)) }
    ///     }
    /// }
    /// let bus = BusBuilder::new()
    ///     .subscribe::<Tick, _>(CountDown)
    ///     .mailbox::<Cascade>(4)
    ///     .cascade_limit(3)
    ///     .build();
    /// bus.post(Tick(3));
    /// assert_eq!(bus.settle().unwrap_err().limit, 3);
    /// assert_eq!(bus.settle(), Ok(1));
    /// ```
    #[inline]
    pub fn settle(&self) -> Result<usize, CascadeError> {
        let mailbox = &self.mailbox;
        let mut left = mailbox.limit;
        while let Some(message) = mailbox.pop() {
            let Some(fewer) = left.checked_sub(1) else {
                let next = message.name();
                mailbox.unpop(message);
                return Err(CascadeError {
                    limit: mailbox.limit,
                    next,
                });
            };
            left = fewer;
            message.deliver(self);
        }
        Ok(mailbox.limit - left)
    }
}

impl<T, O: Queue, M: Message + ListedIn<O::Content>> PostMessage<M> for Bus<T, O> {
    #[inline]
    fn post(&self, message: M) {
        self.mailbox.push(|| message.wrap());
    }
}

/// The error of a cascade that passed its limit, usually because two handlers post to each other
/// without end.
///
/// ```
/// use static_bus::prelude::*;
/// struct Tick;
/// event!(Tick, name = "clock.tick");
/// mailbox! { enum Cascade { event Tick } }
/// struct Forever;
/// impl<B: PostMessage<Tick>> EventHandler<Tick, B> for Forever {
///     fn handle(&self, _: &Tick, bus: &B) { bus.post(Tick) }
/// }
/// let bus = BusBuilder::new()
///     .subscribe::<Tick, _>(Forever)
///     .mailbox::<Cascade>(1)
///     .cascade_limit(10)
///     .build();
/// bus.post(Tick);
/// assert_eq!(
///     bus.settle().unwrap_err().to_string(),
///     "cascade stopped at its limit of 10 messages; next is clock.tick: settle again, or raise cascade_limit"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CascadeError {
    /// The number of messages delivered.
    pub limit: usize,
    /// The name of the next message, still queued.
    pub next: &'static str,
}
impl fmt::Display for CascadeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CascadeError { limit, next } = self;
        write!(
            f,
            "cascade stopped at its limit of {limit} messages; next is {next}: settle again, or raise cascade_limit"
        )
    }
}
impl Error for CascadeError {}

/// The queue of a bus: a [`Mailbox`], or [`NoMailbox`].
#[doc(hidden)]
pub trait Queue {
    type Content;
    /// Appends the content, which is made where it is stored.
    fn push(&self, content: impl FnOnce() -> Self::Content);
}
impl<C> Queue for Mailbox<C> {
    type Content = C;
    #[inline]
    fn push(&self, content: impl FnOnce() -> C) {
        let waiting = self.waiting.get();
        self.waiting.set(waiting + 1);
        match waiting {
            0 => self.next.set(Some(content())),
            _ => push_later(&self.later, content()),
        }
    }
}
impl Queue for NoMailbox {
    type Content = NoMailbox;
    fn push(&self, _: impl FnOnce() -> NoMailbox) {}
}

/// A message listed in mailbox `C`; implemented by [`mailbox!`](crate::mailbox!).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be posted: it is not in this bus's mailbox",
    label = "not listed in `{C}`",
    note = "list it in `mailbox!` and add that to the bus with `.mailbox::<Cascade>(capacity)`; a mailbox carries events and commands whose output is `()`"
)]
pub trait ListedIn<C> {
    #[doc(hidden)]
    fn wrap(self) -> C;
    /// The message in a content that `wrap` made.
    #[doc(hidden)]
    fn unwrap(content: C) -> Self;
}

/// The content of a mailbox: one of the messages that it lists. Implemented by
/// [`mailbox!`](crate::mailbox!).
///
/// ```
/// use std::cell::Cell;
/// use static_bus::{mailbox::Cascade, prelude::*};
/// struct Tick;
/// event!(Tick, name = "clock.tick");
/// mailbox! { enum Posted { event Tick } }
///
/// let ticks = Cell::new(0);
/// let bus = BusBuilder::new().subscribe_fn(|_: &Tick| ticks.set(ticks.get() + 1)).build();
/// let posted = Posted::from(Tick);
/// posted.deliver(&bus);
/// assert_eq!(ticks.get(), 1);
/// ```
pub trait Cascade<B>: Names {
    /// The message's name.
    #[inline]
    fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }
    /// Publishes the event or executes the command.
    fn deliver(self, bus: &B);
}

/// The names of the messages that an enum lists. Implemented by [`mailbox!`](crate::mailbox!).
///
/// ```
/// use static_bus::{mailbox::Names, prelude::*};
/// struct Tick;
/// event!(Tick, name = "clock.tick");
/// struct Stop;
/// command!(Stop, name = "clock.stop");
/// mailbox! { enum Posted { event Tick, command Stop } }
///
/// assert_eq!(Posted::NAMES, ["clock.tick", "clock.stop"]);
/// assert_eq!(Posted::from(Stop).index(), 1);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not list messages",
    label = "not declared with `mailbox!`",
    note = "declare the inputs with `mailbox! {{ enum Input {{ event Tick }} }}`"
)]
pub trait Names {
    /// The names, in the order of the variants.
    const NAMES: &'static [&'static str];

    /// The position of this message's name in [`NAMES`](Names::NAMES).
    fn index(&self) -> usize;
}

/// Delivers message `M` as kind `K`.
#[doc(hidden)]
pub trait DeliverAs<K, M> {
    fn deliver(&self, message: M);
}
#[doc(hidden)]
#[allow(non_camel_case_types)]
pub mod kind {
    pub struct event;
    pub struct command;
}
impl<B: PublishEvent<E>, E: Event<Output = ()>> DeliverAs<kind::event, E> for B {
    #[inline]
    fn deliver(&self, event: E) {
        self.publish(&event);
    }
}
impl<B: ExecuteCommand<C>, C: Command<Output = ()>> DeliverAs<kind::command, C> for B {
    #[inline]
    fn deliver(&self, command: C) {
        self.execute(command);
    }
}

/// An output that carries no error.
#[diagnostic::on_unimplemented(
    message = "`{M}` cannot be posted: nobody would see its error",
    label = "its output is `{Self}`",
    note = "handle the failure where it happens and make the output `()`, or publish an event that tells of it"
)]
pub trait Silent<M> {}
impl<M> Silent<M> for () {}
#[doc(hidden)]
pub const fn check_event<E: Event<Output: Silent<E>>>() {}
#[doc(hidden)]
pub const fn check_command<C: Command<Output: Silent<C>>>() {}

/// Declares the messages of a mailbox: `mailbox! { pub enum Cascade { event Fill, command PlaceOrder } }`.
///
/// ```
/// use static_bus::prelude::*;
/// struct Tick(u32);
/// event!(Tick);
/// mailbox! { enum Cascade { event Tick } }
/// struct CountDown;
/// impl<B: PostMessage<Tick>> EventHandler<Tick, B> for CountDown {
///     fn handle(&self, tick: &Tick, bus: &B) {
///         if tick.0 > 0 { bus.post(Tick(tick.0 - 1)) }
///     }
/// }
/// let bus = BusBuilder::new().subscribe::<Tick, _>(CountDown).mailbox::<Cascade>(8).build();
/// bus.post(Tick(3));
/// assert_eq!(bus.settle(), Ok(4));
/// ```
#[macro_export]
macro_rules! mailbox {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($kind:ident $message:ident),* $(,)? }) => {
        $(#[$meta])*
        $vis enum $name { $(#[doc = ::core::stringify!($message)] $message($message)),* }
        $(
            impl ::core::convert::From<$message> for $name {
                #[inline]
                fn from(__message: $message) -> Self { $name::$message(__message) }
            }
            impl $crate::mailbox::ListedIn<$name> for $message {
                #[inline]
                fn wrap(self) -> $name { $name::$message(self) }
                #[allow(unreachable_patterns)]
                fn unwrap(__content: $name) -> Self {
                    match __content {
                        $name::$message(__message) => __message,
                        _ => ::core::unreachable!(),
                    }
                }
            }
            const _: () = $crate::__mailbox_check!($kind $message);
        )*
        impl $crate::mailbox::Names for $name {
            const NAMES: &'static [&'static ::core::primitive::str] =
                &[$(<$message as $crate::message::Message>::NAME),*];
            #[inline]
            fn index(&self) -> ::core::primitive::usize {
                #[allow(dead_code)]
                enum __Index { $($message),* }
                match *self { $($name::$message(_) => __Index::$message as ::core::primitive::usize),* }
            }
        }
        impl<__Bus> $crate::mailbox::Cascade<__Bus> for $name
        where $(__Bus: $crate::__private::DeliverAs<$crate::__private::kind::$kind, $message>),*
        {
            #[inline]
            fn deliver(self, __bus: &__Bus) {
                match self { $($name::$message(__message) =>
                    $crate::__private::DeliverAs::<$crate::__private::kind::$kind, $message>::deliver(__bus, __message)),* }
            }
        }
    };
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($other:tt)* }) => {
        ::core::compile_error!(
            "a mailbox lists `event Message` and `command Message`: give a message with type arguments a name with \
             `type Name = Message<…>;`; a message that borrows cannot be posted"
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __mailbox_check {
    (event $message:ident) => {
        $crate::__private::check_event::<$message>()
    };
    (command $message:ident) => {
        $crate::__private::check_command::<$message>()
    };
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Mailbox, Queue};
    use core::{cell::Cell, fmt};
    use std::{format, panic};

    /// Panics when it is printed, if the flag is set.
    struct Fragile<'a>(u32, &'a Cell<bool>);
    impl fmt::Debug for Fragile<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            assert!(!self.1.get());
            self.0.fmt(f)
        }
    }

    #[test]
    fn no_message_is_lost_when_one_panics_as_it_is_printed() {
        let fragile = Cell::new(true);
        let mailbox = Mailbox::with_capacity(2);
        (1..4).for_each(|number| mailbox.push(|| Fragile(number, &fragile)));
        let print = panic::AssertUnwindSafe(|| format!("{mailbox:?}"));
        assert!(panic::catch_unwind(print).is_err());
        fragile.set(false);
        mailbox.push(|| Fragile(4, &fragile));
        assert_eq!(format!("{mailbox:?}"), "[1, 2, 3, 4]");
        for number in 1..5 {
            assert_eq!(mailbox.pop().map(|fragile| fragile.0), Some(number));
        }
    }
}
