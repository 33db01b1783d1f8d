use static_bus::{live, prelude::*};

struct Tick;
event!(Tick);
struct Fill;
event!(Fill);
mailbox! { enum Input { event Tick } }

fn main() {
    let (sender, _receiver) = live::channel::<Input>(8);
    _ = sender.try_post(Tick);
    _ = sender.try_post(Fill);
    _ = sender.post(Fill);
}
