use static_bus::prelude::*;

struct CreateOrder;
command!(CreateOrder);

fn main() {
    BusBuilder::new()
        .register_command_fn(|_: CreateOrder| ())
        .register_command_fn(|_: CreateOrder| ());
}
