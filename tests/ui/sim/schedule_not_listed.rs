use static_bus::{prelude::*, sim::Timeline};

struct Review;
event!(Review);
struct Expire;
event!(Expire);
mailbox! { enum Timers { event Review } }

fn main() {
    let timeline = Timeline::<Timers>::new();
    timeline.schedule(5, Expire);
}
