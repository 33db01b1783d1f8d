//! A module within a layer.

use super::Layer;
use crate::module::{Module, Mount, Mounted};
use crate::table::{MergeInto, Root, Wrap};

/// A module, or an entry of one, within a layer; made by [`Module::layer`].
///
/// ```
/// use static_bus::{layer::{AroundQuery, Layer, Layered}, prelude::*, wiring::Registration};
///
/// #[derive(Clone)]
/// struct Nothing;
/// impl Layer for Nothing {
///     type Around = Nothing;
///     fn around(&self, _: Registration) -> Nothing { Nothing }
/// }
/// impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Nothing {
///     fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
///         next(query)
///     }
/// }
///
/// struct Double(u32);
/// query!(Double -> u32);
/// struct Doubler;
/// impl<B> QueryHandler<Double, B> for Doubler {
///     fn handle(&self, query: Double, _bus: &B) -> u32 { query.0 * 2 }
/// }
/// module! { struct Arithmetic { doubler: Doubler => [query Double] } }
///
/// let bus: BusOf<Layered<Arithmetic, Nothing>> =
///     BusBuilder::new().mount(Arithmetic { doubler: Doubler }.layer(Nothing)).build();
/// assert_eq!(bus.send::<Double>(Double(21)), 42);
/// ```
#[derive(Clone)]
#[must_use = "a module does nothing until it is mounted"]
pub struct Layered<M, L> {
    pub(crate) module: M,
    pub(crate) layer: L,
}
impl<M, L> Module for Layered<M, L> {
    type Handlers = Self;
    #[inline]
    fn handlers(self) -> Self {
        self
    }
}
/// The module becomes a table of its own, which is within the layer before it is merged.
impl<M, L, Table> Mount<Table> for Layered<M, L>
where
    M: Module<Handlers: Mount<Root, Out: Wrap<In<L>: MergeInto<Table>>>>,
    L: Layer,
{
    type Out = <<Mounted<M, Root> as Wrap>::In<L> as MergeInto<Table>>::Out;
    fn mount(self, table: Table) -> Self::Out {
        let own = self.module.handlers().mount(crate::table::ROOT);
        let around = &mut |registration| self.layer.around(registration);
        own.wrap::<L>(around).merge_into(table)
    }
}
