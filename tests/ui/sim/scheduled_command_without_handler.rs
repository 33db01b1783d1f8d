use static_bus::{prelude::*, sim::Timeline};

struct Expire;
command!(Expire);
mailbox! { enum Timers { command Expire } }

fn main() {
    let bus = BusBuilder::new().build();
    let timeline = Timeline::<Timers>::new();
    timeline.schedule(5, Expire);
    timeline.advance_to(5, &bus).unwrap();
}
