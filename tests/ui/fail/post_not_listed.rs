use static_bus::prelude::*;

struct Fill;
event!(Fill);
struct BarOpen;
event!(BarOpen);
mailbox! { enum Cascade { event BarOpen } }

fn main() {
    let bus = BusBuilder::new().mailbox::<Cascade>(1).build();
    bus.post(BarOpen);
    bus.post(Fill);
}
