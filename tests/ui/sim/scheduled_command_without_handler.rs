use static_bus::{prelude::*, time::{Time, Timeline}};

struct Expire;
command!(Expire);
mailbox! { enum Timers { command Expire } }

fn main() {
    let bus = BusBuilder::new().build();
    let timeline = Timeline::<Timers>::new();
    timeline.schedule(Time::EPOCH, Expire);
    timeline.advance_to(Time::EPOCH, &bus).unwrap();
}
