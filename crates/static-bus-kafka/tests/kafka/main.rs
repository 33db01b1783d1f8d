//! Tests of the Kafka engine beyond the conformance suite.

mod append;
mod claims;
mod closing;
mod dead_letters;
mod input;
mod inspection;
mod limits;
mod mock;
mod outages;
mod outputs;
mod partitions;
mod positions;
mod queries;
mod rebalances;
mod receivers;
mod security;
mod support;
mod topics;
mod transactions;
