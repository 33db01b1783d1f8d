//! The tests of a module of `examples/monolith`. They are at the end of `orders.rs`, and put the module
//! on a bus of closures.
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
