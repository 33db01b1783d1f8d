use static_bus::prelude::*;

struct CreateOrder;
command!(CreateOrder);

fn main() {
    let bus = BusBuilder::new().build();
    bus.execute(CreateOrder);
}
