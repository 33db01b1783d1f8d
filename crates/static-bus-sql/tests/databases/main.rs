//! The promises of both engines: those of the conformance suite, and those that it leaves out. One program, so that the tests that
//! wait are run beside each other.
#![cfg(any(feature = "sqlite", feature = "postgres"))]
// The tests in `both` are modules of each database.
#![allow(clippy::duplicate_mod)]

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod support;
