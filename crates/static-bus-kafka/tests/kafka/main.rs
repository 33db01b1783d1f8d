//! The engine of Kafka: what it promises beyond what the conformance suite asks.

mod append;
mod dead_letters;
mod input;
mod mock;
mod outages;
mod queries;
mod rebalances;
mod security;
mod support;
mod topics;
mod transactions;
