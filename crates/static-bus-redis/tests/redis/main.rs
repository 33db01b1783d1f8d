//! Properties of Redis, beyond the promises of all engines.

mod cluster;
mod commands;
mod deduplication;
mod failovers;
mod input;
mod inspection;
mod large_backlogs;
mod lost_groups;
mod outages;
mod partitions;
mod payments;
mod queries;
mod scheduling;
mod sentinel;
mod slow_links;
mod support;
mod traps;
mod workers;
