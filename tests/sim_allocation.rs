//! The guarantees of simulated time about allocations. The counting allocator is that of this whole test
//! program, and counts per thread.

use allocation_counter::measure;
use static_bus::prelude::*;
use static_bus::sim::{Replay, Stream, merge};
use static_bus::time::{Time, Timeline};
use std::hint::black_box;
use std::time::Duration;

fn at(nanos: i64) -> Time {
    Time::from_nanos(nanos)
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(black_box(Box::new(1)))).count_total, 1);
}

#[test]
fn a_merge_allocates_nothing_per_item() {
    let streams = (0..8).map(|i| Stream::new("s", (0..10_000).map(move |n| (at(n * (i + 1)), n))));
    let mut merged = merge(streams);
    let mut items = 0;
    let allocations = measure(|| items = merged.by_ref().map(Result::unwrap).count());
    assert_eq!(items, 80_000);
    assert_eq!(allocations.count_total, 0);
}

struct Tick(u64);
event!(Tick);
mailbox! { enum Timers { event Tick } }

struct Quote;
event!(Quote);
mailbox! { enum Input { event Quote } }

/// Schedules itself again, at varying distances, and another message, which it cancels.
struct Ticks<'a>(&'a Timeline<Timers>);
impl<B> EventHandler<Tick, B> for Ticks<'_> {
    fn handle(&self, tick: &Tick, _: &B) {
        let next = tick.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let later = |nanos| self.0.now() + Duration::from_nanos(nanos);
        self.0.schedule(later(1 + (next >> 56)), Tick(next));
        let doomed = self.0.schedule(later(1_000_000), Tick(0));
        self.0.cancel(doomed);
    }
}

#[test]
fn a_timeline_within_its_capacity_allocates_nothing_when_messages_are_scheduled_and_cancelled() {
    let timeline = Timeline::new().with_capacity(101);
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(Ticks(&timeline))
        .build();
    let mut delivered = 0;
    let allocations = measure(|| {
        for n in 0..100 {
            timeline.schedule(at(n as i64), Tick(n));
        }
        delivered = timeline.advance_to(at(100_000), &bus).unwrap();
    });
    assert!(delivered > 50_000);
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn cancelling_never_lets_a_timeline_grow() {
    let timeline = Timeline::<Timers>::new();
    let allocations = measure(|| {
        for n in 0..1_000_000 {
            let doomed = timeline.schedule(at(n as i64), Tick(n));
            timeline.cancel(doomed);
        }
    });
    assert_eq!(timeline.len(), 0);
    assert!(allocations.bytes_max < 10_000, "{allocations:?}");
}

#[test]
fn a_replay_allocates_nothing_per_event() {
    let timeline = Timeline::new().with_capacity(16);
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(Ticks(&timeline))
        .build();
    timeline.schedule(at(0), Tick(7));
    let allocations_of = |length| {
        let inputs = (0..length as i64).map(|n| (timeline.now().max(at(n)), Input::from(Quote)));
        let mut replay = Replay::new(&bus, &timeline, merge([Stream::new("s", inputs)]));
        let mut events = 0;
        let allocations = measure(|| events = replay.run().unwrap().events());
        assert!(events > length);
        allocations.count_total
    };
    assert_eq!(allocations_of(10), allocations_of(10_000));
}

#[cfg(feature = "live")]
#[test]
fn a_live_loop_allocates_nothing_per_event() {
    use static_bus::live::{Clock, Live, channel};
    /// Moves at each reading, so that timers come between the inputs.
    struct Steps(std::cell::Cell<i64>);
    impl Clock for Steps {
        fn now(&self) -> Time {
            self.0.set(self.0.get() + 50);
            at(self.0.get())
        }
    }
    let clock = Steps(std::cell::Cell::new(0));
    let timeline = Timeline::new().with_capacity(16);
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(Ticks(&timeline))
        .build();
    timeline.schedule(at(0), Tick(7));
    let allocations_of = |length| {
        let (sender, inputs) = channel::<Input>(10_000);
        (0..length).for_each(|_| assert!(sender.try_post(Quote).is_ok()));
        drop(sender);
        let mut live = Live::new(&bus, &timeline, inputs)
            .clock(&clock)
            .budget(Duration::ZERO);
        let mut events = 0;
        let allocations = measure(|| events = live.run().unwrap().delivered.events());
        assert!(events > length);
        allocations.count_total
    };
    assert_eq!(allocations_of(10), allocations_of(10_000));
}
