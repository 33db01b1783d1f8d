use static_bus::{prelude::*, time::{Time, Timeline}};

struct Review;
event!(Review);
struct Expire;
event!(Expire);
mailbox! { enum Timers { event Review } }

fn main() {
    let timeline = Timeline::<Timers>::new();
    timeline.schedule(Time::EPOCH, Expire);
}
