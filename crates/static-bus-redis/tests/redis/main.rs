//! Properties of Redis, beyond the promises of all engines.

mod commands;
mod deduplication;
mod input;
mod inspection;
mod outages;
mod partitions;
mod queries;
mod support;
mod traps;
mod workers;
