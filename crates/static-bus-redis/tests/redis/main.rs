//! What is particular to Redis, below everything that is the same on all brokers.

mod commands;
mod deduplication;
mod input;
mod outages;
mod partitions;
mod queries;
mod support;
mod traps;
mod workers;
