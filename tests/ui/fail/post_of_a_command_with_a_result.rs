use static_bus::prelude::*;

struct PlaceOrder;
command!(PlaceOrder -> Result<(), u8>);
outbox! { enum Cascade { command PlaceOrder } }

fn main() {}
