use static_bus::prelude::*;

struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);

fn main() {
    let bus = BusBuilder::new()
        .register_command_fn(|_: CreateOrder| ())
        .subscribe_fn(|_: &OrderCreated| ())
        .build();
    bus.publish(&CreateOrder);
    bus.execute(OrderCreated);
}
