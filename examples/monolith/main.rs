//! A modular monolith: four modules, each in its own file, wired by the compiler.
//!
//! `cargo run --example monolith`, with `-- --mermaid` or `-- --dot` for its wiring as a graph.
//!
//! The modules share message types only; none depends on the services of another. Without one of the
//! `mount` calls below the program does not compile.

use static_bus::prelude::*;

mod inventory;
mod notifications;
mod orders;
mod users;

use inventory::GetStock;
use notifications::GetSent;
use orders::{OrderError, PlaceOrder};

fn main() {
    let bus = BusBuilder::new()
        .mount(users::module())
        .mount(orders::module())
        .mount(inventory::module())
        .mount(notifications::module())
        .build();

    let wiring = bus.wiring();
    match std::env::args().nth(1).as_deref() {
        Some("--mermaid") => return print!("{}", wiring.mermaid()),
        Some("--dot") => return print!("{}", wiring.dot()),
        _ => println!("{wiring}"),
    }

    let order = |user_id, quantity| PlaceOrder {
        user_id,
        item: "lamp",
        quantity,
    };
    assert_eq!(bus.execute(order(1, 2)), Ok(()));
    assert_eq!(bus.execute(order(9, 1)), Err(OrderError::UnknownUser));
    assert_eq!(bus.execute(order(2, 2)), Err(OrderError::OutOfStock));

    assert_eq!(bus.send::<GetStock>(GetStock { item: "lamp" }), 1);
    for mail in bus.send::<GetSent>(GetSent) {
        println!("{mail}");
    }
}
