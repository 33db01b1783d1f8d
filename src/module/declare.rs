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
    () => { $crate::__private::HNil };
    ($a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr, $g:expr, $h:expr, $i:expr, $j:expr, $k:expr, $l:expr, $m:expr, $n:expr, $o:expr, $p:expr, $($rest:tt)+) => {
        $crate::__private::HCons { head: $crate::__private::short_list![$a, $b, $c, $d, $e, $f, $g, $h, $i, $j, $k, $l, $m, $n, $o, $p], tail: $crate::hlist![$($rest)+] }
    };
    ($a:expr $(, $($rest:tt)*)?) => {
        $crate::__private::HCons { head: $a, tail: $crate::hlist![$($($rest)*)?] }
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
    () => { $crate::__private::HNil };
    ($a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty, $g:ty, $h:ty, $i:ty, $j:ty, $k:ty, $l:ty, $m:ty, $n:ty, $o:ty, $p:ty, $($rest:tt)+) => {
        $crate::__private::HCons<$crate::__private::ShortList![$a, $b, $c, $d, $e, $f, $g, $h, $i, $j, $k, $l, $m, $n, $o, $p], $crate::HList![$($rest)+]>
    };
    ($a:ty $(, $($rest:tt)*)?) => {
        $crate::__private::HCons<$a, $crate::HList![$($($rest)*)?]>
    };
}
