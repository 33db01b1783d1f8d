//! The guarantees of the client and the worker, over the broker in this process.

mod chaos;
mod client;
mod concurrency;
mod dead_letters;
mod drain;
mod duplicates;
mod envelope;
mod flow;
mod health;
mod killed;
mod leases;
mod order;
mod sending;
mod sizes;
mod support;
mod timeouts;
