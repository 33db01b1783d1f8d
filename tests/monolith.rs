//! The modules of `examples/monolith`: the tests of `orders.rs`, which put the module on a bus of closures, and what a
//! [`Recorder`] keeps of all four, as snapshots that the README shows.
#![cfg(feature = "testing")]
#![allow(dead_code, reason = "the example's `main` is not a part of this test")]

use static_bus::{assert_needs, prelude::*, testing::Recorder};

#[path = "../examples/monolith/inventory.rs"]
mod inventory;
#[path = "../examples/monolith/notifications.rs"]
mod notifications;
#[path = "../examples/monolith/orders.rs"]
mod orders;
#[path = "../examples/monolith/users.rs"]
mod users;

use inventory::GetStock;
use orders::{OrderError, OrderPlaced, PlaceOrder};
use users::GetUser;

/// The orders of the example's `main`.
fn recorded() -> Recorder {
    let recorder = Recorder::new();
    let bus = BusBuilder::new()
        .mount(users::Module::default())
        .mount(orders::Module::default())
        .mount(inventory::Module::default())
        .mount(notifications::Module::default())
        .layer(recorder.clone())
        .build();
    let order = |user_id, quantity| PlaceOrder {
        user_id,
        item: "lamp",
        quantity,
    };
    assert_eq!(bus.execute(order(1, 2)), Ok(()));
    assert_eq!(bus.execute(order(9, 1)), Err(OrderError::UnknownUser));
    recorder
}

#[test]
fn the_sequence_is_that_of_the_readme() {
    let sequence = recorded().sequence();
    assert_eq!(sequence, include_str!("snapshots/monolith_sequence.mmd"));
    let readme = include_str!("../README.md");
    assert!(readme.contains(&format!("```mermaid\n{sequence}```")));
}

#[test]
fn the_graph_of_modules_is_that_of_the_snapshots() {
    let graph = recorded().graph();
    assert_eq!(
        graph.mermaid(),
        include_str!("snapshots/monolith_modules.mmd")
    );
    assert_eq!(graph.dot(), include_str!("snapshots/monolith_modules.dot"));
}

#[test]
fn a_module_needs_what_its_handlers_send_and_nothing_else() {
    assert_needs!(orders::Module::default(): SendQuery<GetUser>, SendQuery<GetStock>, PublishEvent<OrderPlaced>);
    assert_needs!(users::Module::default():);
    assert_needs!(inventory::Module::default():);
}
