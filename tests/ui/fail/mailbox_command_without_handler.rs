use static_bus::prelude::*;

struct PlaceOrder;
command!(PlaceOrder);
mailbox! { enum Cascade { command PlaceOrder } }

fn main() {
    BusBuilder::new().mailbox::<Cascade>(8).build();
}
