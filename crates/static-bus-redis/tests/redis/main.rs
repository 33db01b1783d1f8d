//! The promises of all engines, and the properties of Redis. One program, so that the tests that wait are run beside each other.

mod cluster;
mod commands;
mod conformance;
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
mod tls;
mod traps;
mod workers;
