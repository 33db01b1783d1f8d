//! A modular monolith: four modules, each in its own file, wired by the compiler.
//!
//! `cargo run --example monolith`, with `-- --mermaid` or `-- --dot` for its wiring as a graph.
//!
//! The modules share message types only; none depends on the services of another. Without one of the
//! fields of `Shop` the program does not compile.

use static_bus::prelude::*;

mod inventory;
mod notifications;
mod orders;
mod users;

use inventory::GetStock;
use notifications::GetSent;
use orders::{OrderError, PlaceOrder};

module! {
    #[derive(Default)]
    struct Shop {
        users: users::Module,
        orders: orders::Module,
        inventory: inventory::Module,
        notifications: notifications::Module,
    }
}

fn main() {
    let bus: BusOf<Shop> = BusBuilder::new().mount(Shop::default()).build_as();

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
