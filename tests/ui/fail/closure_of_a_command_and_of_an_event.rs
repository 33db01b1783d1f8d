use static_bus::prelude::*;

struct CreateOrder;
command!(CreateOrder -> Result<(), &'static str>);
struct OrderCreated;
event!(OrderCreated);

fn main() {
    BusBuilder::new().register_command_fn(|_: CreateOrder| ());
    BusBuilder::new().subscribe_fn::<OrderCreated, _>(|_: OrderCreated| ());
}
