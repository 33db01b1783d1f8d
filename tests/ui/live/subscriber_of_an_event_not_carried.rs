use static_bus::{live, prelude::*};

struct Tick;
event!(Tick);
#[derive(Clone)]
struct Fill;
event!(Fill);
mailbox! { enum Input { event Tick } }

fn main() {
    let (sender, _receiver) = live::channel::<Input>(8);
    BusBuilder::new().subscribe::<Fill, _>(sender).build();
}
