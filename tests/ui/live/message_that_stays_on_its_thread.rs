use static_bus::{live, prelude::*};
use std::rc::Rc;

struct Tick(Rc<u32>);
event!(Tick);
mailbox! { enum Input { event Tick } }

fn main() {
    let (sender, _receiver) = live::channel::<Input>(8);
    _ = sender.post(Tick(Rc::new(1)));
}
