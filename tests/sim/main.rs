//! What simulated time promises, one test for each promise.

mod merge;
