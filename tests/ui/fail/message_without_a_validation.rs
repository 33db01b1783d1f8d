use static_bus::layer::Validated;
use static_bus::prelude::*;

struct PlaceOrder;
command!(PlaceOrder -> Result<(), &'static str>);

fn main() {
    BusBuilder::new().register_command_fn(|_: PlaceOrder| Ok(())).layer(Validated).build();
}
