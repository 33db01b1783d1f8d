//! What the suite says of the engines within one process, and of engines with a fault. One program, so that the tests that wait are
//! run beside each other.

mod fails;
mod memory;
mod simulated;
mod skeleton;
