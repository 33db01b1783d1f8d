use static_bus::{live, prelude::*};

struct Fill;
event!(Fill);
mailbox! { enum Input { event Fill } }

fn main() {
    let (sender, _receiver) = live::channel::<Input>(8);
    BusBuilder::new().subscribe::<Fill, _>(sender).build();
}
