//! A module of `examples/monolith` under test, as its authors would test it: the tests stand at the
//! end of `orders.rs`, and build it on a bus of closures.
#![cfg(feature = "alloc")]
#![allow(
    dead_code,
    reason = "the example's other modules lend their messages only"
)]

#[path = "../examples/monolith/inventory.rs"]
mod inventory;
#[path = "../examples/monolith/orders.rs"]
mod orders;
#[path = "../examples/monolith/users.rs"]
mod users;
