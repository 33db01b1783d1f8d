#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(
    feature = "live",
    feature = "metrics",
    feature = "serde",
    feature = "sim",
    feature = "testing",
    feature = "timing",
    feature = "tokio"
))]
extern crate std;

#[cfg(feature = "async")]
pub mod asynchronous;
pub mod builder;
pub mod bus;
pub mod dispatch;
pub mod handler;
pub mod key;
pub mod layer;
#[cfg(feature = "live")]
pub mod live;
#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "alloc")]
pub mod mailbox;
#[cfg(not(feature = "alloc"))]
#[doc(hidden)]
#[path = "no_mailbox.rs"]
pub mod mailbox;
pub mod message;
pub mod module;
#[cfg(feature = "sim")]
pub mod sim;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "sim")]
pub mod time;
pub mod wiring;

#[cfg(doc)]
pub mod _documentation {
    //! Longer texts: [the design and its reasons](design), and [the compile errors](errors).

    #[doc = include_str!("../docs/DESIGN.md")]
    pub mod design {}
    #[doc = include_str!("../docs/ERRORS.md")]
    pub mod errors {}
}

pub use frunk::{HCons, HNil};

/// The names that modules and programs need: `use static_bus::prelude::*;`.
///
/// Features are additive, so a feature may add names here only if they contain `Async` or `async`: another
/// name could be one that a program has from another glob.
pub mod prelude {
    #[cfg(feature = "async")]
    pub use crate::asynchronous::{
        AsyncCommandHandler, AsyncEventHandler, AsyncExecuteCommand, AsyncPublishEvent,
        AsyncQueryHandler, AsyncSendQuery, OnCommandAsync, OnEventAsync, OnQueryAsync,
        on_command_async, on_command_async_fn, on_event_async, on_event_async_fn, on_query_async,
        on_query_async_fn,
    };
    pub use crate::builder::{BusBuilder, BusOf};
    pub use crate::bus::Bus;
    pub use crate::dispatch::{ExecuteCommand, PostMessage, PublishEvent, SendQuery};
    pub use crate::handler::{CommandHandler, EventHandler, QueryHandler};
    pub use crate::mailbox;
    pub use crate::message::{Command, Event, Message, Query};
    pub use crate::module::{
        Module, OnCommand, OnEvent, OnQuery, on_command, on_command_fn, on_event, on_event_fn,
        on_query, on_query_fn,
    };
    pub use crate::{HList, assert_wired, command, event, hlist, module, name_key, query};
}

/// Items used by the expansions of the macros; not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::key::{Digits, KeyEnd, digit, hash};
    #[cfg(feature = "alloc")]
    pub use crate::mailbox::{Cascade, DeliverAs, check_command, check_event, kind};
    pub use crate::module::FromHandler;
    pub use frunk::{HList as ShortList, hlist as short_list};
}

/// Nothing: without the feature `testing`, no message is kept.
#[cfg(not(feature = "testing"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __keep {
    ($($static:ty)?) => {};
}

/// Checks at compile time that a bus type implements the listed traits, such as `SendQuery<Ping>` and
/// `for<'a> PublishEvent<Tick<'a>>`.
///
/// ```
/// use static_bus::prelude::*;
/// struct Ping;
/// query!(Ping -> u8);
/// struct Pong;
/// impl<B> QueryHandler<Ping, B> for Pong {
///     fn handle(&self, _: Ping, _: &B) -> u8 { 1 }
/// }
/// type AppBus = BusOf<HList![OnQuery<Ping, Pong>]>;
/// assert_wired!(AppBus: SendQuery<Ping>);
/// ```
#[macro_export]
macro_rules! assert_wired {
    ($bus:ty: for<$($lifetime:lifetime),+> $need:path $(, $($more:tt)*)?) => {
        const _: () = {
            const fn assert_wired<__Bus: for<$($lifetime),+> $need>() {}
            assert_wired::<$bus>();
        };
        $($crate::assert_wired!(@more $bus: $($more)*);)?
    };
    ($bus:ty: $need:path $(, $($more:tt)*)?) => {
        const _: () = {
            const fn assert_wired<__Bus: $need>() {}
            assert_wired::<$bus>();
        };
        $($crate::assert_wired!(@more $bus: $($more)*);)?
    };
    (@more $bus:ty:) => {};
    (@more $($more:tt)+) => { $crate::assert_wired!($($more)+); };
}

#[cfg(all(doctest, feature = "alloc"))]
mod code_blocks {
    macro_rules! pages {
        ($($page:ident $file:literal)*) => {
            $(#[doc = include_str!(concat!("../docs/", $file))] mod $page {})*
        };
    }
    pages! {
        errors "ERRORS.md"
        getting_started "guide/src/getting-started.md"
        messages "guide/src/messages.md"
        handlers_and_modules "guide/src/handlers-and-modules.md"
        layers "guide/src/layers.md"
        cycles "guide/src/cycles-and-the-mailbox.md"
        storing "guide/src/storing-a-bus.md"
        reading_the_assembly "guide/src/reading-the-assembly.md"
        compile_time "guide/src/compile-time.md"
    }
    #[cfg(feature = "async")]
    pages! {
        async_handlers "guide/src/async-handlers.md"
    }
    #[cfg(feature = "sim")]
    pages! {
        simulated_time "guide/src/simulated-time.md"
    }
    #[cfg(feature = "live")]
    pages! {
        from_backtest_to_live "guide/src/from-backtest-to-live.md"
        threads "guide/src/threads.md"
    }
    #[cfg(feature = "log")]
    pages! {
        recording "guide/src/recording.md"
    }
}
