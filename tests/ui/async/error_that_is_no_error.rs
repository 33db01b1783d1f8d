use static_bus::prelude::*;

struct OutOfStock;
struct CreateOrder;
command!(CreateOrder -> Result<(), OutOfStock>);
struct OrderCreated;
event!(OrderCreated -> Result<(), OutOfStock>);

fn main() {
    let bus = BusBuilder::new()
        .register_command_fn(|_: CreateOrder| Err(OutOfStock))
        .subscribe_fn(|_: &OrderCreated| Err(OutOfStock))
        .build();
    drop(bus.execute_async(CreateOrder));
    drop(bus.publish_async(&OrderCreated));
}
