//! The guarantees of the client and the worker, over the broker in this process.

mod chaos;
mod client;
mod client_metrics;
mod concurrency;
mod dead_letter_search;
mod dead_letters;
mod drain;
mod duplicates;
mod envelope;
mod flow;
mod headers;
mod health;
mod killed;
mod later;
mod layers;
mod leases;
mod order;
mod sending;
mod settings;
mod sizes;
mod support;
mod timeouts;
mod trace;
