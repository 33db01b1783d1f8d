//! The macros that declare messages.

/// Declares a query: `query!(GetUser -> Option<User>)`, optionally `, name = "users.get"`
/// and `, key = field`.
///
/// Works for any struct or enum, in any scope. A generic type is declared once for each list of type
/// arguments, and each declaration has a `name`: `query!(Get<u32> -> u32, name = "get.u32")`. A message that
/// borrows is declared once for all lifetimes, which may be named for the response:
/// `query!(Find<'a> -> Option<&'a str>)`.
///
/// ```
/// use static_bus::prelude::*;
///
/// struct GetUser(u32);
/// query!(GetUser -> Option<&'static str>);
/// struct CountUsers;
/// query!(CountUsers -> usize, name = "users.count");
///
/// assert!(GetUser::NAME.ends_with("::GetUser"));
/// assert_eq!(CountUsers::NAME, "users.count");
/// ```
#[macro_export]
macro_rules! query {
    ($message:ident -> $response:ty $(, name = $name:expr)? $(, key = $key:tt)? $(,)?) => {
        $crate::__message!($message $(, name = $name)? $(, key = $key)?);
        impl $crate::message::Query for $message { type Response = $response; }
    };
    ($message:ident < $($rest:tt)+) => { $crate::__arguments!([query $message] [] [] [] [] $($rest)+); };
}

/// Declares a command: `command!(CreateOrder)` or `command!(CreateOrder -> Result<(), E>)`,
/// optionally `, name = "orders.create"` and `, key = field`, its
/// [ordering key](crate::message::Message::ordering_key) on a broker. Generic arguments are written as in
/// [`query!`](crate::query!).
///
/// ```
/// use static_bus::prelude::*;
///
/// struct Refresh;
/// command!(Refresh); // the same as `-> ()`
/// struct Cancel { order_id: u64 }
/// command!(Cancel -> Result<(), &'static str>, name = "orders.cancel");
///
/// let bus = BusBuilder::new()
///     .register_command_fn(|_: Refresh| ())
///     .register_command_fn(|c: Cancel| if c.order_id == 7 { Ok(()) } else { Err("unknown order") })
///     .build();
/// bus.execute(Refresh);
/// assert_eq!(bus.execute(Cancel { order_id: 8 }), Err("unknown order"));
/// ```
#[macro_export]
macro_rules! command {
    ($message:ident $(, name = $name:expr)? $(, key = $key:tt)? $(,)?) => {
        $crate::command!($message -> () $(, name = $name)? $(, key = $key)?);
    };
    ($message:ident -> $output:ty $(, name = $name:expr)? $(, key = $key:tt)? $(,)?) => {
        $crate::__message!($message $(, name = $name)? $(, key = $key)?);
        impl $crate::message::Command for $message { type Output = $output; }
    };
    ($message:ident < $($rest:tt)+) => { $crate::__arguments!([command $message] [] [] [] [] $($rest)+); };
}

/// Declares an event: `event!(OrderCreated)` or `event!(OrderCreated -> Result<(), E>)`,
/// optionally `, name = "orders.created"` and `, key = field`, its
/// [ordering key](crate::message::Message::ordering_key) on a broker. Generic arguments are written as in
/// [`query!`](crate::query!).
///
/// ```
/// use static_bus::prelude::*;
///
/// struct Clicked;
/// event!(Clicked); // the same as `-> ()`
/// struct OrderCreated;
/// event!(OrderCreated -> Result<(), &'static str>, name = "orders.created");
///
/// let bus = BusBuilder::new().build();
/// bus.publish(&Clicked);
/// assert_eq!(bus.publish(&OrderCreated), Ok(()));
/// ```
#[macro_export]
macro_rules! event {
    ($message:ident $(, name = $name:expr)? $(, key = $key:tt)? $(,)?) => {
        $crate::event!($message -> () $(, name = $name)? $(, key = $key)?);
    };
    ($message:ident -> $output:ty $(, name = $name:expr)? $(, key = $key:tt)? $(,)?) => {
        $crate::__message!($message $(, name = $name)? $(, key = $key)?);
        impl $crate::message::Event for $message { type Output = $output; }
    };
    ($message:ident < $($rest:tt)+) => { $crate::__arguments!([event $message] [] [] [] [] $($rest)+); };
}

/// Turns a name into its key, a type, for a [`Message`](crate::message::Message) impl by hand.
///
/// Equal names have equal keys. Different names have different keys, unless their 38-bit hashes
/// collide. Two messages with one key do not compile on one bus.
///
/// The key of a message with lifetimes is `Borrowed<name_key!("the.name"), Tick<'static>>`, with
/// [`Borrowed`](crate::key::Borrowed).
///
/// ```
/// use static_bus::prelude::*;
/// struct Ping;
/// impl Message for Ping {
///     const NAME: &'static str = "net.ping";
///     type NameKey = name_key!("net.ping");
/// }
/// impl Event for Ping { type Output = (); }
/// BusBuilder::new().subscribe_fn(|_: &Ping| ()).build().publish(&Ping);
/// ```
#[macro_export]
macro_rules! name_key {
    ($name:expr) => {
        $crate::__name_key!($crate::__private::hash($name))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __message {
    ($message:ident $(, key = $key:tt)?) => {
        $crate::__message!(
            $message,
            name = ::core::concat!(::core::module_path!(), "::", ::core::stringify!($message))
            $(, key = $key)?
        );
    };
    ($message:ident, name = $name:expr $(, key = $key:tt)?) => {
        $crate::__message!([] [$message] [], name = $name $(, key = $key)?);
    };
    ([$($lifetime:lifetime)*] [$message:ty] [$($static:ty)?], name = $name:expr $(, key = $key:tt)?) => {
        const _: () = {
            // One hash for all digits.
            const __HASH: ::core::primitive::u64 = $crate::__private::hash($name);
            impl<$($lifetime),*> $crate::message::Message for $message {
                const NAME: &'static ::core::primitive::str = $name;
                type NameKey = $crate::__name_key!($(for $static,)? __HASH);
                $(#[inline]
                fn ordering_key(&self, __show: &mut dyn ::core::ops::FnMut(&dyn ::core::fmt::Display)) {
                    __show(&self.$key);
                })?
                $crate::__keep!($($static)?);
            }
        };
    };
}

/// Parses the generic arguments of a message, one at a time, into lists: the lifetimes to declare, the arguments, the
/// arguments with `'static` for each lifetime, and `named` if any is not a lifetime.
#[rustfmt::skip]
#[doc(hidden)]
#[macro_export]
macro_rules! __arguments {
    (@next $what:tt $lifetimes:tt [$($all:tt)*] [$($static:tt)*] $named:tt , $($rest:tt)+) => {
        $crate::__arguments!($what $lifetimes [$($all)* ,] [$($static)* ,] $named $($rest)+);
    };
    (@next [$kind:ident $message:ident] $lifetimes:tt [$($all:tt)*] [$($static:tt)*] $named:tt > $($rest:tt)*) => {
        $crate::__declare!($kind $message $named $lifetimes [$message<$($all)*>] [$message<$($static)*>] $($rest)*);
    };
    ($what:tt $lifetimes:tt [$($all:tt)*] [$($static:tt)*] $named:tt '_ $($rest:tt)+) => {
        $crate::__arguments!(@next $what $lifetimes [$($all)* '_] [$($static)* 'static] $named $($rest)+);
    };
    ($what:tt $lifetimes:tt [$($all:tt)*] [$($static:tt)*] $named:tt 'static $($rest:tt)+) => {
        $crate::__arguments!(@next $what $lifetimes [$($all)* 'static] [$($static)* 'static] $named $($rest)+);
    };
    ($what:tt [$($lifetimes:tt)*] [$($all:tt)*] [$($static:tt)*] $named:tt $lifetime:lifetime $($rest:tt)+) => {
        $crate::__arguments!(@next $what [$($lifetimes)* $lifetime] [$($all)* $lifetime] [$($static)* 'static] $named $($rest)+);
    };
    ($what:tt $lifetimes:tt [$($all:tt)*] [$($static:tt)*] $named:tt $value:literal $($rest:tt)+) => {
        $crate::__arguments!(@next $what $lifetimes [$($all)* $value] [$($static)* $value] [named] $($rest)+);
    };
    ($what:tt $lifetimes:tt [$($all:tt)*] [$($static:tt)*] $named:tt $value:block $($rest:tt)+) => {
        $crate::__arguments!(@next $what $lifetimes [$($all)* $value] [$($static)* $value] [named] $($rest)+);
    };
    ($what:tt $lifetimes:tt $all:tt $static:tt $named:tt > $($rest:tt)*) => {
        $crate::__arguments!(@next $what $lifetimes $all $static $named > $($rest)*);
    };
    ($what:tt $lifetimes:tt [$($all:tt)*] [$($static:tt)*] $named:tt $argument:ty , $($rest:tt)+) => {
        $crate::__arguments!($what $lifetimes [$($all)* $argument ,] [$($static)* $argument ,] [named] $($rest)+);
    };
    ($what:tt $lifetimes:tt [$($all:tt)*] [$($static:tt)*] $named:tt $argument:ty > $($rest:tt)*) => {
        $crate::__arguments!(@next $what $lifetimes [$($all)* $argument] [$($static)* $argument] [named] > $($rest)*);
    };
}

/// Declares a message with generic arguments.
#[rustfmt::skip]
#[doc(hidden)]
#[macro_export]
macro_rules! __declare {
    ($kind:ident $message:ident [named] $lifetimes:tt $type:tt $static:tt $(-> $output:ty)? $(, key = $key:tt)? $(,)?) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($message), "` with type arguments needs a name of its own: add `, name = \"…\"`"
        ));
    };
    ($kind:ident $message:ident [] $lifetimes:tt $type:tt $static:tt $(-> $output:ty)? $(, key = $key:tt)? $(,)?) => {
        $crate::__declare!(
            $kind $message [] $lifetimes $type $static $(-> $output)?,
            name = ::core::concat!(::core::module_path!(), "::", ::core::stringify!($message))
            $(, key = $key)?
        );
    };
    (query $message:ident $named:tt [$($lifetime:lifetime)*] [$type:ty] $static:tt -> $response:ty, name = $name:expr $(, key = $key:tt)? $(,)?) => {
        $crate::__message!([$($lifetime)*] [$type] $static, name = $name $(, key = $key)?);
        impl<$($lifetime),*> $crate::message::Query for $type { type Response = $response; }
    };
    (command $message:ident $named:tt [$($lifetime:lifetime)*] [$type:ty] $static:tt -> $output:ty, name = $name:expr $(, key = $key:tt)? $(,)?) => {
        $crate::__message!([$($lifetime)*] [$type] $static, name = $name $(, key = $key)?);
        impl<$($lifetime),*> $crate::message::Command for $type { type Output = $output; }
    };
    (event $message:ident $named:tt [$($lifetime:lifetime)*] [$type:ty] $static:tt -> $output:ty, name = $name:expr $(, key = $key:tt)? $(,)?) => {
        $crate::__message!([$($lifetime)*] [$type] $static, name = $name $(, key = $key)?);
        impl<$($lifetime),*> $crate::message::Event for $type { type Output = $output; }
    };
    (query $($other:tt)*) => {
        ::core::compile_error!("a query has a response: `query!(Message -> Response)`");
    };
    ($kind:ident $message:ident $named:tt $lifetimes:tt $type:tt $static:tt, $($rest:tt)+) => {
        $crate::__declare!($kind $message $named $lifetimes $type $static -> (), $($rest)+);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __name_key {
    (for $message:ty, $hash:expr) => {
        $crate::key::Borrowed<$crate::__name_key!($hash), $message>
    };
    ($hash:expr) => {
        $crate::__private::Digits<{ $crate::__private::digit($hash, 0) },
        $crate::__private::Digits<{ $crate::__private::digit($hash, 1) },
        $crate::__private::Digits<{ $crate::__private::digit($hash, 2) },
        $crate::__private::Digits<{ $crate::__private::digit($hash, 3) },
        $crate::__private::Digits<{ $crate::__private::digit($hash, 4) },
        $crate::__private::Digits<{ $crate::__private::digit($hash, 5) },
        $crate::__private::Digits<{ $crate::__private::digit($hash, 6) },
        $crate::__private::Digits<{ $crate::__private::digit($hash, 7) }, $crate::__private::KeyEnd>>>>>>>>
    };
}
