//! The macros that write lists and modules.

/// A list of values, of any length: the entries of a module, or modules.
///
/// ```
/// use static_bus::prelude::*;
/// struct Double(u32);
/// query!(Double -> u32);
/// struct Halve(u32);
/// query!(Halve -> u32);
/// let arithmetic = hlist![on_query_fn(|n: Double| n.0 * 2), on_query_fn(|n: Halve| n.0 / 2)];
/// let bus = BusBuilder::new().mount(arithmetic).build();
/// assert_eq!(bus.send::<Halve>(Halve(42)), 21);
/// ```
#[macro_export]
macro_rules! hlist {
    () => { $crate::HNil };
    ($a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr, $g:expr, $h:expr, $i:expr, $j:expr, $k:expr, $l:expr, $m:expr, $n:expr, $o:expr, $p:expr, $($rest:tt)+) => {
        $crate::HCons { head: $crate::__private::short_list![$a, $b, $c, $d, $e, $f, $g, $h, $i, $j, $k, $l, $m, $n, $o, $p], tail: $crate::hlist![$($rest)+] }
    };
    ($a:expr $(, $($rest:tt)*)?) => {
        $crate::HCons { head: $a, tail: $crate::hlist![$($($rest)*)?] }
    };
}

/// The type of an [`hlist!`](crate::hlist!).
///
/// ```
/// use static_bus::prelude::*;
/// let list: HList![u8, &str] = hlist![7, "seven"];
/// assert_eq!(list.head, 7);
/// ```
#[macro_export]
macro_rules! HList {
    () => { $crate::HNil };
    ($a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty, $g:ty, $h:ty, $i:ty, $j:ty, $k:ty, $l:ty, $m:ty, $n:ty, $o:ty, $p:ty, $($rest:tt)+) => {
        $crate::HCons<$crate::__private::ShortList![$a, $b, $c, $d, $e, $f, $g, $h, $i, $j, $k, $l, $m, $n, $o, $p], $crate::HList![$($rest)+]>
    };
    ($a:ty $(, $($rest:tt)*)?) => {
        $crate::HCons<$a, $crate::HList![$($($rest)*)?]>
    };
}

/// Declares a module as a struct: each field is a handler with its messages, or another module.
///
/// The struct is the one list of what the module contains: it is constructed like any struct, and
/// [`BusOf`](crate::builder::BusOf) takes its type. A handler of several messages is cloned for all but the
/// last, so it is an `Rc`, an `Arc`, a reference, or a type that is cheap to clone.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use static_bus::prelude::*;
///
/// struct Deposit(u32);
/// command!(Deposit);
/// struct GetBalance;
/// query!(GetBalance -> u32);
///
/// #[derive(Default)]
/// struct Account(Cell<u32>);
/// impl<B> CommandHandler<Deposit, B> for Account {
///     fn handle(&self, command: Deposit, _bus: &B) {
///         self.0.set(self.0.get() + command.0);
///     }
/// }
/// impl<B> QueryHandler<GetBalance, B> for Account {
///     fn handle(&self, _: GetBalance, _bus: &B) -> u32 {
///         self.0.get()
///     }
/// }
///
/// module! {
///     /// Accounts.
///     struct Accounts {
///         account: Rc<Account> => [command Deposit, query GetBalance],
///     }
/// }
/// module! {
///     struct Bank {
///         accounts: Accounts,
///     }
/// }
///
/// let bank = Bank { accounts: Accounts { account: Rc::default() } };
/// let bus: BusOf<Bank> = BusBuilder::new().mount(bank).build();
/// bus.execute(Deposit(5));
/// assert_eq!(bus.send::<GetBalance>(GetBalance), 5);
/// ```
///
/// The messages of a field are `query Q`, `command C` and `event E`, with `async` before it if the handler is
/// asynchronous. Fields are mounted in order, which is the order of subscribers. The struct can have lifetimes
/// and type parameters: `struct Orders<'a, R: Rates> where R: Clone { … }`, with one bound for each.
/// A module that needs more implements [`Module`](crate::module::Module) itself.
#[macro_export]
macro_rules! module {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Module:ident
        $(<
            $($lifetime:lifetime),* $(,)?
            $($Param:ident $(: $bound:path)?),* $(,)?
        >)?
        $(where $($Bounded:ty: $also:path),+ $(,)?)?
        {
            $(
                $(#[$field_attribute:meta])*
                $field_visibility:vis $field:ident: $Field:ty $(=> [$($messages:tt)+])?
            ),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $Module
        $(<$($lifetime,)* $($Param $(: $bound)?),*>)?
        $(where $($Bounded: $also),+)?
        {
            $($(#[$field_attribute])* $field_visibility $field: $Field,)*
        }
        impl $(<$($lifetime,)* $($Param $(: $bound)?),*>)? $crate::module::Module
            for $Module $(<$($lifetime,)* $($Param),*>)?
        $(where $($Bounded: $also),+)?
        {
            type Handlers = $crate::HList![$($crate::__part!(type $Field $(, $($messages)+)?)),*];
            #[inline]
            fn handlers(self) -> Self::Handlers {
                $crate::hlist![$($crate::__part!(self.$field $(, $($messages)+)?)),*]
            }
        }
    };
}

/// The part of a module's list that a field makes.
#[doc(hidden)]
#[macro_export]
macro_rules! __part {
    (type $Field:ty) => { $Field };
    (type $Field:ty, $($messages:tt)+) => { $crate::__entries!($Field, $($messages)+) };
    ($field:expr) => { $field };
    ($field:expr, $($messages:tt)+) => { $crate::__private::FromHandler::from_handler($field) };
}
/// The list of the entries of one handler.
#[doc(hidden)]
#[macro_export]
macro_rules! __entries {
    ($Handler:ty, query $Message:ty $(, $($rest:tt)*)?) => {
        $crate::HCons<$crate::module::OnQuery<$Message, $Handler>, $crate::__entries!($Handler, $($($rest)*)?)>
    };
    ($Handler:ty, command $Message:ty $(, $($rest:tt)*)?) => {
        $crate::HCons<$crate::module::OnCommand<$Message, $Handler>, $crate::__entries!($Handler, $($($rest)*)?)>
    };
    ($Handler:ty, event $Message:ty $(, $($rest:tt)*)?) => {
        $crate::HCons<$crate::module::OnEvent<$Message, $Handler>, $crate::__entries!($Handler, $($($rest)*)?)>
    };
    ($Handler:ty, async query $Message:ty $(, $($rest:tt)*)?) => {
        $crate::HCons<$crate::asynchronous::OnQueryAsync<$Message, $Handler>, $crate::__entries!($Handler, $($($rest)*)?)>
    };
    ($Handler:ty, async command $Message:ty $(, $($rest:tt)*)?) => {
        $crate::HCons<$crate::asynchronous::OnCommandAsync<$Message, $Handler>, $crate::__entries!($Handler, $($($rest)*)?)>
    };
    ($Handler:ty, async event $Message:ty $(, $($rest:tt)*)?) => {
        $crate::HCons<$crate::asynchronous::OnEventAsync<$Message, $Handler>, $crate::__entries!($Handler, $($($rest)*)?)>
    };
    ($Handler:ty,) => { $crate::HNil };
    ($Handler:ty, $($other:tt)+) => {
        ::core::compile_error!(
            "a handler's messages are `query Q`, `command C` and `event E`, with `async` before it if the handler is asynchronous"
        )
    };
}
