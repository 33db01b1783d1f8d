//! Tests of the Kafka engine beyond the conformance suite.

mod append;
mod backlog;
mod claims;
mod closing;
mod dead_letters;
mod exactly_once;
mod input;
mod inspection;
mod limits;
mod mock;
mod moves;
mod outages;
mod outputs;
mod partitions;
mod permissions;
mod positions;
mod queries;
mod rebalances;
mod security;
mod support;
mod topics;
