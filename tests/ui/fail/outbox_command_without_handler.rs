use static_bus::prelude::*;

struct PlaceOrder;
command!(PlaceOrder);
outbox! { enum Cascade { command PlaceOrder } }

fn main() {
    BusBuilder::new().outbox::<Cascade>(8).build();
}
