use static_bus::{live, prelude::*};

struct Tick;
event!(Tick);
struct PlaceOrder;
command!(PlaceOrder);
mailbox! { enum Input { event Tick } }

fn main() {
    let (sender, _receiver) = live::channel::<Input>(8);
    BusBuilder::new().register_command::<PlaceOrder, _>(sender).build();
}
