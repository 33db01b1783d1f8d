use static_bus::prelude::*;

struct Fill;
event!(Fill);

fn main() {
    let bus = BusBuilder::new().build();
    bus.post(Fill);
}
