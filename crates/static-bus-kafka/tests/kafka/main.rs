//! The promises of all engines, and the properties of Kafka. One program, so that the tests that wait are run beside each other.

mod append;
mod backlog;
mod claims;
mod closing;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod dead_letters;
mod exactly_once;
mod input;
mod inspection;
mod limits;
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
