//! What holds in real time only.

use crate::at;
use crate::drive::Script;
use crate::market::{Entry, Input, Market, Timers, journal_of};
use proptest::prelude::*;
use static_bus::{
    live::{Clock, Inputs, Live, LiveError, RealTime, Record, StopHandle, channel},
    prelude::*,
    time::{Time, Timeline},
};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

struct Say(u32);
event!(Say, name = "say");
struct Ring(u32);
event!(Ring, name = "ring");
mailbox! { enum Said { event Say } }
mailbox! { enum Rings { event Ring } }

/// More time than any test takes on the busiest machine.
const HOUR: Duration = Duration::from_secs(3_600);

fn say(items: &[(i64, u32)]) -> Vec<(Time, Said)> {
    let items = items.iter();
    items.map(|(time, n)| (at(*time), Say(*n).into())).collect()
}

/// A pseudorandom number below `bound` (SplitMix64).
fn random(state: &Cell<u64>, bound: u64) -> u64 {
    state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
    let bits = state.get();
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ bits >> 31) % bound
}

/// A clock that moves by a random time at each reading, sometimes back, and at some readings stops the loop.
struct Erratic {
    state: Cell<u64>,
    now: Cell<i64>,
    stop: OnceCell<StopHandle>,
}
impl Clock for Erratic {
    fn now(&self) -> Time {
        self.now
            .set(self.now.get() + random(&self.state, 30) as i64 - 2);
        if random(&self.state, 20) == 0 {
            self.stop.get().into_iter().for_each(StopHandle::stop);
        }
        at(self.now.get())
    }
}

/// Inputs that are there at some calls only.
struct Hesitant {
    rest: VecDeque<Input>,
    state: Cell<u64>,
}
impl Inputs<Input> for Hesitant {
    fn try_next(&mut self) -> Option<Input> {
        let is_there = random(&self.state, 3) > 0;
        is_there.then(|| self.rest.pop_front())?
    }
    fn is_closed(&self) -> bool {
        self.rest.is_empty()
    }
    fn park(&mut self, _: Option<Duration>) {}
    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }
}

/// The recorded inputs, with their times.
#[derive(Default)]
struct Records(RefCell<Vec<(Time, Input)>>);
impl Record<Input> for &Records {
    type Error = Infallible;
    fn record(&mut self, time: Time, input: &Input) -> Result<(), Infallible> {
        self.0.borrow_mut().push((time, input.clone()));
        Ok(())
    }
}

/// The journal of a replay of the recorded inputs, until a time.
fn replayed(records: &Records, timeline: Timeline<Timers>, end: Time) -> Vec<Entry> {
    let inputs: Vec<_> = records
        .0
        .borrow()
        .iter()
        .cloned()
        .map(Ok::<_, Infallible>)
        .collect();
    journal_of(&timeline, inputs.into_iter(), |replay| {
        replay.until(end).run().unwrap();
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_replay_of_the_recorded_inputs_until_the_end_repeats_the_run(seed: u64, shuffles: bool) {
        let timeline = || match shuffles {
            true => Timeline::new().shuffle_ties(seed),
            false => Timeline::new(),
        };
        let clock = Erratic { state: Cell::new(seed), now: Cell::new(0), stop: OnceCell::new() };
        let inputs = crate::market::inputs(50).map(|input| input.unwrap().1).collect();
        let inputs = Hesitant { rest: inputs, state: Cell::new(!seed) };
        let records = Records::default();
        let live_timeline = timeline();
        let market = Market::new(&live_timeline);
        let bus = market.bus();
        let mut live = Live::new(&bus, &live_timeline, inputs).clock(&clock).recorder(&records);
        clock.stop.set(live.stop_handle()).unwrap();
        let mut stops = 0;
        loop {
            // Some runs end at a time, and others when they are stopped or the inputs are over.
            let report = match random(&clock.state, 4) {
                0 => live.run_until(at(clock.now.get() + 50)).unwrap(),
                _ => live.run().unwrap(),
            };
            let journal = market.journal();
            prop_assert_eq!(&replayed(&records, timeline(), report.end), &journal);
            prop_assert_eq!(report.end, live_timeline.now());
            stops += u32::from(report.delivered.stopped);
            if !report.delivered.stopped && records.0.borrow().len() == 150 {
                break;
            }
        }
        prop_assert!(stops > 0);
        prop_assert!(records.0.borrow().is_sorted_by_key(|(time, _)| *time));
    }
}

/// Runs a loop with timers in real time; each must not be early. Returns the lateness that was reported.
fn run_with_timers(spins: bool) -> Duration {
    let clock = RealTime::new();
    let timeline = Timeline::<Rings>::starting_at(clock.now());
    let rung = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|ring: &Ring| {
            assert!(clock.now() >= timeline.now(), "early");
            rung.borrow_mut().push(ring.0);
        })
        .build();
    for n in 1..=20 {
        timeline.schedule(timeline.now() + n * Duration::from_millis(1), Ring(n));
    }
    let (_sender, inputs) = channel::<Said>(1);
    let mut live = Live::new(&bus, &timeline, inputs).clock(&clock);
    if spins {
        live = live.spin();
    }
    let end = timeline.now() + Duration::from_millis(21);
    let report = live.run_until(end).unwrap();
    assert!(clock.now() >= end);
    assert_eq!(rung.take(), Vec::from_iter(1..=20));
    assert_eq!((report.end, report.lateness.count), (end, 20));
    assert!(report.lateness.mean() <= report.lateness.max);
    report.lateness.max
}

#[test]
fn a_timer_is_not_early_whether_the_loop_parks_or_spins() {
    for spins in [false, true] {
        assert!(run_with_timers(spins) < HOUR);
    }
}

#[test]
fn an_input_wakes_a_loop_that_waits_for_a_timer() {
    let timeline = Timeline::<Rings>::starting_at(RealTime::new().now());
    timeline.schedule(timeline.now() + HOUR, Ring(1));
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|say: &Say| seen.borrow_mut().push(say.0))
        .build();
    let (sender, inputs) = channel::<Said>(2);
    let start = Instant::now();
    let posting = thread::spawn(move || {
        for n in 0..5 {
            thread::sleep(Duration::from_millis(2)); // the loop is likely to park meanwhile
            assert!(sender.post(Say(n)).is_ok());
        }
    });
    let report = Live::new(&bus, &timeline, inputs).run().unwrap();
    posting.join().unwrap();
    assert_eq!(seen.take(), [0, 1, 2, 3, 4]);
    assert!(!report.delivered.stopped && start.elapsed() < HOUR);
    assert_eq!(timeline.len(), 1);
}

#[test]
fn a_stop_ends_a_run_that_waits_also_when_the_senders_are_gone() {
    for senders_are_gone in [false, true] {
        let timeline = Timeline::<Rings>::starting_at(RealTime::new().now());
        let bus = BusBuilder::new().build();
        let (sender, inputs) = channel::<Said>(2);
        let mut live = Live::new(&bus, &timeline, inputs);
        let stop = live.stop_handle();
        let sender = (!senders_are_gone).then_some(sender);
        let stopping = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5)); // the loop is likely to wait meanwhile
            stop.stop();
        });
        let start = Instant::now();
        let report = live.run_until(timeline.now() + HOUR).unwrap();
        assert!(report.delivered.stopped && start.elapsed() < HOUR);
        stopping.join().unwrap();
        drop(sender);
        // The stop is over.
        assert!(!live.run().unwrap().delivered.stopped);
    }
}

#[test]
fn a_stop_leaves_inputs_where_they_are() {
    let timeline = Timeline::<Rings>::new();
    let seen = RefCell::new(vec![]);
    let stop = OnceCell::<StopHandle>::new();
    let bus = BusBuilder::new()
        .subscribe_fn(|say: &Say| {
            seen.borrow_mut().push(say.0);
            timeline.schedule(timeline.now(), Ring(10 + say.0));
            if say.0 == 2 {
                stop.get().unwrap().stop();
            }
        })
        .subscribe_fn(|ring: &Ring| seen.borrow_mut().push(ring.0))
        .build();
    let (sender, inputs) = channel::<Said>(8);
    (1..=4).for_each(|n| assert!(sender.post(Say(n)).is_ok()));
    let mut live = Live::new(&bus, &timeline, inputs);
    stop.set(live.stop_handle()).unwrap();
    let report = live.run().unwrap();
    assert!(report.delivered.stopped);
    assert_eq!(seen.take(), [1, 11, 2, 12]);
    assert_eq!(report.end, report.delivered.span.unwrap().1);

    let parts = live.into_parts();
    let left = parts
        .next
        .into_iter()
        .chain(std::iter::from_fn(|| parts.inputs.try_next()));
    assert!(left.map(|Said::Say(say)| say.0).eq([3, 4]));
}

#[test]
fn an_input_after_the_end_of_a_run_is_the_first_of_the_next_one() {
    let timeline = Timeline::<Rings>::new();
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|say: &Say| seen.borrow_mut().push((timeline.now(), say.0)))
        .build();
    let inputs = Script::new(say(&[(5, 1), (10, 2), (11, 3)]), at(0));
    let clock = inputs.clock();
    let mut live = Live::new(&bus, &timeline, inputs).clock(clock.clone());
    live.run_until(at(10)).unwrap();
    assert_eq!(seen.take(), [(at(5), 1), (at(10), 2)]);
    clock.set(at(12)); // the input arrives, and the end of the run is over
    live.run_until(at(11)).unwrap();
    assert_eq!(seen.take(), []);
    live.run().unwrap();
    assert_eq!(seen.take(), [(at(12), 3)]);
}

#[test]
fn an_error_of_the_recorder_ends_the_run_before_the_input_is_delivered() {
    /// Room for some inputs.
    struct Disk(u32, Vec<(Time, u32)>);
    impl Record<Said> for Disk {
        type Error = &'static str;
        fn record(&mut self, time: Time, Said::Say(say): &Said) -> Result<(), &'static str> {
            self.0 = self.0.checked_sub(1).ok_or("the disk is full")?;
            self.1.push((time, say.0));
            Ok(())
        }
    }
    let timeline = Timeline::<Rings>::new();
    timeline.schedule(at(8), Ring(10));
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|say: &Say| seen.borrow_mut().push(say.0))
        .subscribe_fn(|ring: &Ring| seen.borrow_mut().push(ring.0))
        .build();
    let mut disk = Disk(1, vec![]);
    let inputs = Script::new(say(&[(5, 1), (9, 2)]), at(0));
    let clock = inputs.clock();
    let mut live = Live::new(&bus, &timeline, inputs)
        .clock(clock)
        .recorder(&mut disk);
    let error = live.run().unwrap_err();
    assert_eq!(error, LiveError::Record("the disk is full"));
    assert_eq!(
        error.to_string(),
        "an input cannot be recorded, and was not delivered (the disk is full): mend the recorder and run \
         again, or take the inputs that are left with `into_parts`"
    );
    assert_eq!(seen.take(), [1, 10]);
    assert_eq!(
        (live.report().end, live.report().delivered.events()),
        (at(8), 2)
    );
    let parts = live.into_parts();
    assert!(matches!(parts.next, Some(Said::Say(Say(2)))));
    assert_eq!(disk.1, [(at(5), 1)]);
}

#[test]
fn a_message_over_the_budget_is_in_the_report_with_its_cascade() {
    struct Note(u32);
    event!(Note, name = "note");
    mailbox! { enum Posted { event Note } }
    struct Poster;
    impl<B: PostMessage<Note>> EventHandler<Say, B> for Poster {
        fn handle(&self, say: &Say, bus: &B) {
            bus.post(Note(say.0));
        }
    }

    let timeline = Timeline::<Rings>::new();
    let inputs = Script::new(say(&[(100, 30), (200, 10), (300, 11), (400, 5)]), at(0));
    let clock = inputs.clock();
    let takes = |nanos: u32| clock.set(clock.now() + Duration::from_nanos(nanos.into()));
    let bus = BusBuilder::new()
        .subscribe::<Say, _>(Poster)
        .subscribe_fn(|note: &Note| takes(note.0))
        .subscribe_fn(|ring: &Ring| takes(ring.0))
        .mailbox::<Posted>(4)
        .build();
    timeline.schedule(at(250), Ring(10));
    timeline.schedule(at(350), Ring(99));
    let budget = Duration::from_nanos(10);
    let report = Live::new(&bus, &timeline, inputs)
        .clock(clock.clone())
        .budget(budget)
        .run()
        .unwrap();
    let slow = report.slow.iter();
    let slow: Vec<_> = slow
        .map(|slow| (slow.name, slow.count, slow.max.as_nanos()))
        .collect();
    assert_eq!(slow, [("say", 2, 30), ("ring", 1, 99)]);
    let text = report.to_string();
    assert!(
        text.contains("\nslow: say, 2 times, up to 30.000ns\nslow: ring, 1 times, up to 99.000ns"),
        "{text}"
    );
}

#[test]
fn the_lateness_of_a_timer_is_the_time_since_it_was_due() {
    let timeline = Timeline::<Rings>::new();
    let inputs = Script::new(say(&[(100, 0)]), at(0));
    let clock = inputs.clock();
    let bus = BusBuilder::new()
        .subscribe_fn(|_: &Ring| clock.set(clock.now() + Duration::from_nanos(10)))
        .build();
    for due in [20, 25, 38] {
        timeline.schedule(at(due), Ring(0)); // delivered at 20, 30 and 40
    }
    let report = Live::new(&bus, &timeline, inputs)
        .clock(clock.clone())
        .run()
        .unwrap();
    let lateness = report.lateness;
    assert_eq!((lateness.count, lateness.max.as_nanos()), (3, 5));
    assert_eq!(lateness.mean(), Duration::from_nanos(2)); // (0 + 5 + 2) / 3
    let text = report.to_string();
    assert!(
        text.contains("\nscheduled messages were late by 2.000ns on average, 5.000ns at most"),
        "{text}"
    );
}

#[test]
fn time_counts_from_the_timeline_while_the_clock_is_behind_it() {
    let timeline = Timeline::<Rings>::starting_at(at(50));
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|say: &Say| seen.borrow_mut().push((timeline.now(), say.0)))
        .build();
    let inputs = Script::new(say(&[(10, 1), (49, 2), (60, 3)]), at(0));
    let clock = inputs.clock();
    Live::new(&bus, &timeline, inputs)
        .clock(clock)
        .run()
        .unwrap();
    assert_eq!(seen.take(), [(at(50), 1), (at(50), 2), (at(60), 3)]);
}

#[test]
fn real_time_begins_at_the_time_of_the_system_and_never_goes_back() {
    let before = std::time::SystemTime::now();
    let clock = RealTime::new();
    let readings: Vec<_> = (0..10_000).map(|_| clock.now()).collect();
    assert!(readings.is_sorted());
    assert!(readings[0] >= Time::try_from(before).unwrap());
    assert!(readings[0] < Time::try_from(before).unwrap() + HOUR);
}
