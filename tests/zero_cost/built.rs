//! The bus of a module, without layers.

pub type Built<M> = static_bus::builder::BusOf<M>;
