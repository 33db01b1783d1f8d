//! What asynchronous dispatch in one process promises.

mod spawning;
