use static_bus::prelude::*;

struct PlaceOrder;
command!(PlaceOrder -> Result<(), u8>);
mailbox! { enum Cascade { command PlaceOrder } }

fn main() {}
