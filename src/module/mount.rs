//! Mounting: the handlers of a module, and of the modules in it, become entries of a table.

use super::Module;
use crate::table::{MergeInto, ROOT, Root};
use frunk::{HCons, HNil};

/// The handlers of a module, which are added to a table in order.
#[doc(hidden)]
pub trait Mount<Table> {
    type Out;
    fn mount(self, table: Table) -> Self::Out;
}
/// Table `T` after module `M` was mounted on it.
pub(crate) type Mounted<M, T> = <<M as Module>::Handlers as Mount<T>>::Out;

impl Module for HNil {
    type Handlers = HNil;
    #[inline]
    fn handlers(self) -> HNil {
        self
    }
}
impl<Part, Rest> Module for HCons<Part, Rest> {
    type Handlers = Self;
    #[inline]
    fn handlers(self) -> Self {
        self
    }
}

impl<Table> Mount<Table> for HNil {
    type Out = Table;
    #[inline]
    fn mount(self, table: Table) -> Table {
        table
    }
}
/// A list becomes a small table of its own first, which takes less compile time than the insertion of
/// its entries one by one into the large table.
impl<Part, Rest, Table> Mount<Table> for HCons<Part, Rest>
where
    Self: MountEach<Root, Out: MergeInto<Table>>,
{
    type Out = <<Self as MountEach<Root>>::Out as MergeInto<Table>>::Out;
    #[inline]
    fn mount(self, table: Table) -> Self::Out {
        self.mount_each(ROOT).merge_into(table)
    }
}

/// A list whose parts are mounted one after the other, four at a time: rustc limits the depth of a
/// recursion.
#[doc(hidden)]
pub trait MountEach<T0> {
    type Out;
    fn mount_each(self, table: T0) -> Self::Out;
}
impl<T0> MountEach<T0> for HNil {
    type Out = T0;
    #[inline]
    fn mount_each(self, table: T0) -> T0 {
        table
    }
}
impl<Part, Rest, T> MountEach<T> for HCons<Part, Rest>
where
    Part: Module<Handlers: Mount<T>>,
    Rest: MountEach<Mounted<Part, T>>,
{
    type Out = Rest::Out;
    #[inline]
    fn mount_each(self, table: T) -> Self::Out {
        self.tail.mount_each(self.head.handlers().mount(table))
    }
}

/// A part of a module's list, or the parts of it, that one handler makes; written by
/// [`module!`](crate::module!).
#[doc(hidden)]
pub trait FromHandler<H> {
    fn from_handler(handler: H) -> Self;
}
impl<Part: FromHandler<H>, H> FromHandler<H> for HCons<Part, HNil> {
    #[inline]
    fn from_handler(handler: H) -> Self {
        HCons {
            head: Part::from_handler(handler),
            tail: HNil,
        }
    }
}
impl<Part: FromHandler<H>, Next, Rest, H: Clone> FromHandler<H> for HCons<Part, HCons<Next, Rest>>
where
    HCons<Next, Rest>: FromHandler<H>,
{
    #[inline]
    fn from_handler(handler: H) -> Self {
        HCons {
            head: Part::from_handler(handler.clone()),
            tail: FromHandler::from_handler(handler),
        }
    }
}
