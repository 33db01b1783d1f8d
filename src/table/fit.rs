//! The comparison of a table with one whose type is given.

use super::Missing;

/// A table with the entries of `Expected`. Different messages may be in another order.
#[doc(hidden)]
pub trait Fit<Expected> {
    fn fit(self) -> Expected;
}
/// A bucket, from which the entry with the key `R` is taken.
pub trait Take<R> {
    type Taken;
    type Left;
    fn take(self) -> (Self::Taken, Self::Left);
}
/// The second step of [`Take`]: `Is` is [`Same`](crate::key::Same) if the first entry has the key `R`, and
/// otherwise [`Other`](crate::key::Other).
pub trait TakeIf<Is, R> {
    type Taken;
    type Left;
    fn take_if(self) -> (Self::Taken, Self::Left);
}
impl<R> Take<R> for () {
    type Taken = Missing;
    type Left = ();
    #[inline]
    fn take(self) -> (Missing, ()) {
        (Missing, ())
    }
}
impl Fit<()> for () {
    #[inline]
    fn fit(self) {}
}

/// An entry of message `M` that was taken where the entry `Expected` is listed.
#[diagnostic::on_unimplemented(
    message = "`{M}` is listed in the type of the bus, but not registered",
    label = "nothing is registered for `{M}`",
    note = "register it, mount the module that has it, or remove it from the list in `BusOf<…>`"
)]
pub trait Registered<M, Expected> {
    fn registered(self) -> Expected;
}
/// The same entry.
#[diagnostic::on_unimplemented(
    message = "`{M}` is registered with another handler than the type of the bus lists",
    label = "another handler of `{M}`, or other subscribers",
    note = "a query and a command need the handler type in the list in `BusOf<…>`, an event all subscribers in that order"
)]
pub trait SameHandlers<M, Expected> {
    fn same(self) -> Expected;
}
impl<M, Entry> SameHandlers<M, Entry> for Entry {
    #[inline]
    fn same(self) -> Entry {
        self
    }
}
/// The end of a listed bucket, if it has a place for message `M`: never.
#[diagnostic::on_unimplemented(
    message = "`{M}` is registered, but not listed in the type of the bus",
    label = "the type of the bus has no place for `{M}`",
    note = "add it, or its module, to the list in `BusOf<…>`, or remove the registration"
)]
pub trait PlaceFor<M> {
    fn place() -> Self;
}
