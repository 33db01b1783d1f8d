//! What is particular to Redis, below everything that is the same on all brokers.

#[path = "../brokers/mod.rs"]
mod brokers;
#[path = "../support/doomed.rs"]
mod doomed;

mod commands;
mod deduplication;
mod input;
mod outages;
mod partitions;
mod queries;
mod support;
mod traps;
mod workers;
