//! The macros work where the names that they use mean something else, or nothing.

#![no_implicit_prelude]
#![allow(dead_code, non_camel_case_types, non_upper_case_globals, unused_macros)]

/// Defines each name as a macro that does not work.
macro_rules! broken {
    ($d:tt $($name:ident)*) => {
        $(macro_rules! $name { ($d($d any:tt)*) => { ::core::compile_error!("a macro of the user's") } })*
    };
}
broken! {
    $ assert assert_eq cfg column compile_error concat debug_assert dbg env file format format_args
    include_str line matches module_path option_env panic print println stringify todo unimplemented
    unreachable vec write assert_impl_all assert_wired_all __message __name_key __mailbox_check
    event command query mailbox module name_key hlist HList assert_wired __part __entries
}

/// Types with the names of the language's, the prelude's and the library's own.
macro_rules! types {
    ($($name:ident)*) => { $(
        pub struct $name;
        ::static_bus::event!($name);
        const _: () = ::core::assert!(<$name as ::static_bus::message::Message>::NAME.len() > 0);
    )* };
}

mod primitives {
    types! { bool char str u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 }
}
mod of_the_prelude {
    types! {
        Option Some None Result Ok Err Box String Vec Sized Send Sync Copy Clone Drop Fn FnMut FnOnce From
        Into Default Iterator ToString
    }
}
mod of_the_library {
    types! {
        Message Query Command Event Bus BusBuilder Mailbox Cascade Digits KeyEnd Key DeliverAs ListedIn HASH
        NAME NameKey Response Output A B C D E F H K L M N O P Q R S T U W X Y Z
    }
    // A mailbox of them, and the check of a bus that has their handlers.
    ::static_bus::mailbox! {
        pub enum Posted { event A, event B, event C, event M, event T, event Cascade, event From }
    }
    ::static_bus::module! {
        pub struct Module<'a, M> {
            borrowed: &'a Handler => [event T],
            rest: M,
        }
    }
    pub struct From;
    ::static_bus::event!(From);
    pub struct Handler;
    impl<Any> ::static_bus::handler::EventHandler<T, Any> for Handler {
        fn handle(&self, _: &T, _: &Any) {}
    }
    type AppBus = ::static_bus::builder::BusOf<
        ::static_bus::HList![::static_bus::module::OnEvent<T, Handler>],
        ::static_bus::mailbox::Mailbox<Posted>,
    >;
    ::static_bus::assert_wired!(
        AppBus: ::static_bus::dispatch::PublishEvent<T>, ::static_bus::dispatch::PostMessage<B>
    );
    ::static_bus::assert_wired!(AppBus: ::static_bus::dispatch::PublishEvent<B>,);
}

/// Modules with the names of crates, and names that the macros bind.
mod crates {
    pub mod core {}
    pub mod std {}
    pub mod alloc {}
    pub mod static_bus {}
    pub mod crate_ {}
    pub struct show;
    pub struct bus;
    pub static message: () = ();
    pub const HASH: &::core::primitive::str = "hash";

    pub struct Tick {
        pub self_: ::core::primitive::u32,
    }
    ::static_bus::event!(Tick, name = HASH, key = self_);
    pub struct Cancel(::core::primitive::u32);
    ::static_bus::command!(Cancel -> ::core::result::Result<(), ()>, key = 0);
    pub struct Ask;
    ::static_bus::query!(Ask -> ());
    pub struct ByHand;
    impl ::static_bus::message::Message for ByHand {
        const NAME: &'static ::core::primitive::str = "by hand";
        type NameKey = ::static_bus::name_key!("by hand");
    }
    impl ::static_bus::message::Command for ByHand {
        type Output = ();
    }
    ::static_bus::mailbox! { pub enum Posted { event Tick, command ByHand } }
    ::static_bus::mailbox! { pub enum Nothing {} }

    pub struct u64;
    pub struct named<'a, T: ?::core::marker::Sized>(&'a T);
    ::static_bus::query!(named<'a, u64> -> &'a u64, name = HASH);
    ::static_bus::command!(named<'_, ::core::primitive::str>, name = HASH);
    pub struct query<'a>(&'a ());
    ::static_bus::event!(query<'_>);

    pub struct Borrowing<'a>(&'a ());
    impl<Any> ::static_bus::handler::QueryHandler<Ask, Any> for Borrowing<'_> {
        fn handle(&self, _: Ask, _: &Any) {}
    }
    type AppBus<'a> =
        ::static_bus::builder::BusOf<::static_bus::HList![::static_bus::module::OnQuery<Ask, Borrowing<'a>>]>;
    ::static_bus::assert_wired!(AppBus<'_>: ::static_bus::dispatch::SendQuery<Ask>);
}

fn main() {
    use ::static_bus::{builder::BusBuilder, message::Message};
    use crates::{ByHand, Posted, Tick};

    ::core::assert_eq!(<Tick as Message>::NAME, "hash");
    let bus = BusBuilder::new()
        .mount(::static_bus::hlist![
            ::static_bus::module::on_event_fn(|_: &Tick| ()),
            ::static_bus::module::on_command_fn(|_: ByHand| ()),
        ])
        .mailbox::<Posted>(2)
        .build();
    bus.post(Tick { self_: 1 });
    bus.post(ByHand);
    ::core::assert_eq!(bus.settle(), ::core::result::Result::Ok(2));
}
