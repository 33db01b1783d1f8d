//! The macros that declare messages.

/// Declares a query: `query!(GetUser -> Option<User>)`, optionally `, name = "users.get"`
/// and `, key = field`.
///
/// Works for any struct or enum without generic parameters, in any scope.
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
}

/// Declares a command: `command!(CreateOrder)` or `command!(CreateOrder -> Result<(), E>)`,
/// optionally `, name = "orders.create"` and `, key = field`, its
/// [ordering key](crate::message::Message::ordering_key) on a broker.
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
}

/// Declares an event: `event!(OrderCreated)` or `event!(OrderCreated -> Result<(), E>)`,
/// optionally `, name = "orders.created"` and `, key = field`, its
/// [ordering key](crate::message::Message::ordering_key) on a broker.
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
}

/// Turns a name into its key, a type, for a [`Message`](crate::message::Message) impl by hand.
///
/// Equal names have equal keys. Different names have different keys, unless their 38-bit hashes
/// collide. Two messages with one key do not compile on one bus.
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
    ($name:expr) => { $crate::__name_key!($crate::__private::hash($name), 0 1 2 3 4 5 6 7) };
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
        const _: () = {
            // One hash for all digits.
            const __HASH: ::core::primitive::u64 = $crate::__private::hash($name);
            impl $crate::message::Message for $message {
                const NAME: &'static ::core::primitive::str = $name;
                type NameKey = $crate::__name_key!(__HASH, 0 1 2 3 4 5 6 7);
                $(#[inline]
                fn ordering_key(&self, __show: &mut dyn ::core::ops::FnMut(&dyn ::core::fmt::Display)) {
                    __show(&self.$key);
                })?
            }
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __name_key {
    ($hash:expr,) => { $crate::__private::KeyEnd };
    ($hash:expr, $digit:literal $($more:literal)*) => {
        $crate::__private::Digits<
            { $crate::__private::digit($hash, $digit) },
            $crate::__name_key!($hash, $($more)*)
        >
    };
}
