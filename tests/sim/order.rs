//! The rules of order, which are the same in simulated and in real time.

use crate::at;
use crate::drive::{InSimulatedTime, Loop, Run};
use crate::market::{Entry, Market, Timers, inputs, whole_journal_of};
use static_bus::{
    prelude::*,
    sim::Count,
    time::{Time, Timeline},
};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

macro_rules! of_each_loop {
    ($($test:ident)*) => {
        mod in_simulated_time {
            $(#[test] fn $test() { super::$test::<super::InSimulatedTime>() })*
        }
        #[cfg(feature = "live")]
        mod in_real_time {
            $(#[test] fn $test() { super::$test::<crate::drive::InRealTime>() })*
        }
    };
}
of_each_loop! {
    the_bus_is_quiescent_before_each_next_event_and_timers_go_before_inputs_of_their_time
    what_an_input_schedules_for_now_comes_before_the_next_input
    a_run_to_a_time_ends_with_the_timeline_advanced_to_it
    a_run_in_steps_is_the_same_as_a_whole_one
    ties_are_delivered_in_the_order_of_their_seed
    a_history_before_the_epoch_begins_with_the_timeline
    after_a_cascade_error_the_next_run_continues_and_nothing_is_lost
    a_cascade_error_of_a_timer_does_not_lose_the_input_that_follows
    a_run_continues_after_a_panic_of_any_handler
    a_report_counts_events_by_name_in_the_order_of_the_lists
}

/// An input that posts this number of notes.
pub struct Say(pub u32);
event!(Say);
/// A timer that posts a note.
pub struct Ring(pub u32);
event!(Ring);
pub struct Note(pub u32);
event!(Note);

mailbox! { pub enum Said { event Say } }
mailbox! { pub enum Rings { event Ring } }
mailbox! { pub enum Posted { event Note } }

pub struct Poster;
impl<B: PostMessage<Note>> EventHandler<Say, B> for Poster {
    fn handle(&self, say: &Say, bus: &B) {
        (1..=say.0).for_each(|n| bus.post(Note(10 * say.0 + n)));
    }
}
impl<B: PostMessage<Note>> EventHandler<Ring, B> for Poster {
    fn handle(&self, ring: &Ring, bus: &B) {
        bus.post(Note(100 * ring.0));
    }
}

/// The delivered messages in order: inputs as they are, timers and notes by number.
pub type Seen = RefCell<Vec<u32>>;

macro_rules! bus {
    ($seen:expr) => {
        BusBuilder::new()
            .subscribe_fn(|say: &Say| $seen.borrow_mut().push(say.0))
            .subscribe_fn(|ring: &Ring| $seen.borrow_mut().push(ring.0))
            .subscribe_fn(|note: &Note| $seen.borrow_mut().push(note.0))
            .subscribe::<Say, _>(Poster)
            .subscribe::<Ring, _>(Poster)
            .mailbox::<Posted>(8)
            .cascade_limit(3)
            .build()
    };
}
pub(crate) use bus;

fn say(items: &[(i64, u32)]) -> Vec<(Time, Said)> {
    let items = items.iter();
    items.map(|(time, n)| (at(*time), Say(*n).into())).collect()
}

fn the_bus_is_quiescent_before_each_next_event_and_timers_go_before_inputs_of_their_time<
    L: Loop,
>() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    for (time, number) in [(5, 40), (10, 41), (25, 42), (30, 43), (31, 44)] {
        timeline.schedule(at(time), Ring(number));
    }
    bus.post(Note(99));
    let inputs = say(&[(10, 2), (10, 1), (20, 1), (30, 0)]);
    let report = L::over(&bus, &timeline, inputs).run_to(None).unwrap();
    let expected = [
        99, // posted before the run
        40, 4000, 41, 4100, // due at 5 and 10
        2, 21, 22, 1, 11, // the inputs at 10
        1, 11, // and at 20
        42, 4200, 43, 4300, // due at 25 and 30
        0,
    ];
    assert_eq!(seen.take(), expected);
    assert_eq!(report.span, Some((at(5), at(30))));
    assert_eq!((timeline.now(), timeline.len()), (at(30), 1));
}

fn what_an_input_schedules_for_now_comes_before_the_next_input<L: Loop>() {
    let seen = Seen::default();
    let timeline = Timeline::<Rings>::new();
    let bus = BusBuilder::new()
        .subscribe_fn(|say: &Say| {
            seen.borrow_mut().push(say.0);
            timeline.schedule(Time::EPOCH, Ring(10 + say.0));
        })
        .subscribe_fn(|ring: &Ring| seen.borrow_mut().push(ring.0))
        .build();
    let inputs = say(&[(3, 1), (3, 2)]);
    L::over(&bus, &timeline, inputs).run_to(None).unwrap();
    assert_eq!(seen.take(), [1, 11, 2, 12]); // also after the last one
}

fn a_run_to_a_time_ends_with_the_timeline_advanced_to_it<L: Loop>() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    timeline.schedule(at(15), Ring(40));
    timeline.schedule(at(21), Ring(41));
    let mut run = L::over(&bus, &timeline, say(&[(10, 0), (20, 0), (21, 0)]));
    run.run_to(Some(at(20))).unwrap();
    assert_eq!(seen.take(), [0, 40, 4000, 0]);
    assert_eq!((timeline.now(), timeline.len()), (at(20), 1));
    drop(run);

    let mut run = L::over(&bus, &timeline, say(&[]));
    run.run_to(Some(at(30))).unwrap();
    assert_eq!(seen.take(), [41, 4100]);
    assert_eq!(timeline.now(), at(30));
}

/// The journal of the market, driven by a loop.
fn journal_of<L: Loop>(
    timeline: &Timeline<Timers>,
    drive: impl FnOnce(&mut dyn FnMut(Option<Time>)),
) -> Vec<Entry> {
    let market = Market::new(timeline);
    let bus = market.bus();
    let inputs = inputs(2_000).map(Result::unwrap).collect();
    let mut run = L::over(&bus, timeline, inputs);
    drive(&mut |end| drop(run.run_to(end).unwrap()));
    market.journal()
}

fn a_run_in_steps_is_the_same_as_a_whole_one<L: Loop>() {
    let expected = whole_journal_of(&Timeline::new(), inputs(2_000));
    let end = expected.last().unwrap().0;
    let timeline = Timeline::new();
    let journal = journal_of::<L>(&timeline, |run_to| {
        for time in (0..end.as_nanos()).step_by(97).map(at) {
            run_to(Some(time));
            assert_eq!(timeline.now(), time);
        }
        run_to(Some(end));
    });
    assert_eq!(journal, expected);
}

fn ties_are_delivered_in_the_order_of_their_seed<L: Loop>() {
    let shuffled = || Timeline::new().shuffle_ties(7);
    let journal = journal_of::<L>(&shuffled(), |run_to| run_to(None));
    assert_eq!(journal, whole_journal_of(&shuffled(), inputs(2_000)));
    assert_ne!(journal, whole_journal_of(&Timeline::new(), inputs(2_000)));
}

fn a_history_before_the_epoch_begins_with_the_timeline<L: Loop>() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::starting_at(at(-40));
    for (time, number) in [(-50, 40), (-20, 41), (0, 42), (11, 43)] {
        timeline.schedule(at(time), Ring(number));
    }
    let inputs = say(&[(-30, 0), (-10, 0), (10, 0)]);
    let report = L::over(&bus, &timeline, inputs).run_to(None).unwrap();
    assert_eq!(seen.take(), [40, 4000, 0, 41, 4100, 0, 42, 4200, 0]);
    assert_eq!(report.span, Some((at(-40), at(10)))); // the first timer was due in the past
}

fn after_a_cascade_error_the_next_run_continues_and_nothing_is_lost<L: Loop>() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    timeline.schedule(at(10), Ring(40));
    let mut run = L::over(&bus, &timeline, say(&[(5, 4), (10, 1)]));
    let error = run.run_to(None).unwrap_err(); // 4 notes are above the limit of 3
    assert_eq!((error.limit, error.next), (3, Note::NAME));
    assert_eq!(seen.take(), [4, 41, 42, 43]);

    assert_eq!(run.run_to(None).unwrap().events(), 3);
    assert_eq!(seen.take(), [44, 40, 4000, 1, 11]);
}

fn a_cascade_error_of_a_timer_does_not_lose_the_input_that_follows<L: Loop>() {
    let seen = Seen::default();
    let timeline = Timeline::<Said>::new();
    let bus = bus!(seen);
    timeline.schedule(at(10), Say(5));
    let mut run = L::over(&bus, &timeline, say(&[(10, 1)]));
    assert!(run.run_to(None).is_err());
    assert_eq!(seen.take(), [5, 51, 52, 53]);
    assert_eq!(run.run_to(None).unwrap().events(), 2);
    assert_eq!(seen.take(), [54, 55, 1, 11]);
}

/// Notes each message, and panics at one of them.
struct Fragile<'a> {
    timeline: &'a Timeline<Rings>,
    seen: RefCell<Vec<(Time, u32)>>,
    breaks_at: Cell<Option<usize>>,
}
impl Fragile<'_> {
    fn note(&self, number: u32) {
        let mut seen = self.seen.borrow_mut();
        seen.push((self.timeline.now(), number));
        if self.breaks_at.get() == Some(seen.len()) {
            resume_unwind(Box::new("fragile")); // prints nothing
        }
    }
}
impl<B: PostMessage<Note>> EventHandler<Say, B> for Fragile<'_> {
    fn handle(&self, say: &Say, bus: &B) {
        let soon = self.timeline.now() + Duration::from_nanos(3);
        self.timeline.schedule(soon, Ring(100 + say.0));
        bus.post(Note(200 + say.0));
        self.note(say.0);
    }
}
impl<B: PostMessage<Note>> EventHandler<Ring, B> for Fragile<'_> {
    fn handle(&self, ring: &Ring, bus: &B) {
        bus.post(Note(100 + ring.0));
        self.note(ring.0);
    }
}
impl<B> EventHandler<Note, B> for Fragile<'_> {
    fn handle(&self, note: &Note, _: &B) {
        self.note(note.0);
    }
}

fn a_run_continues_after_a_panic_of_any_handler<L: Loop>() {
    let run_with_a_panic_at = |breaks_at| {
        let timeline = Timeline::new();
        let fragile = Fragile {
            timeline: &timeline,
            seen: RefCell::default(),
            breaks_at: Cell::new(breaks_at),
        };
        let bus = BusBuilder::new()
            .subscribe::<Say, _>(&fragile)
            .subscribe::<Ring, _>(&fragile)
            .subscribe::<Note, _>(&fragile)
            .mailbox::<Posted>(8)
            .build();
        let inputs = Vec::from_iter((1..9).map(|n| (i64::from(n / 2), n)));
        let mut run = L::over(&bus, &timeline, say(&inputs));
        let mut step = || drop(run.run_to(Some(at(100))).unwrap());
        let panics = (0..).find(|_| catch_unwind(AssertUnwindSafe(&mut step)).is_ok());
        (fragile.seen.take(), panics.unwrap())
    };
    let (whole, 0) = run_with_a_panic_at(None) else {
        panic!("no message breaks it")
    };
    assert_eq!(whole.len(), 8 * 4, "inputs, timers, and a note for each");
    for message in 1..=whole.len() {
        let expected = (whole.clone(), 1);
        assert_eq!(
            run_with_a_panic_at(Some(message)),
            expected,
            "message {message}"
        );
    }
}

fn a_report_counts_events_by_name_in_the_order_of_the_lists<L: Loop>() {
    let timeline = Timeline::new();
    let market = Market::new(&timeline);
    let bus = market.bus();
    let inputs = inputs(1_000).map(Result::unwrap).collect();
    let report = L::over(&bus, &timeline, inputs).run_to(None).unwrap();
    let journal = market.journal();
    let counted = |counts: &[Count]| -> Vec<_> {
        let short = |name: &'static str| name.rsplit("::").next().unwrap();
        let counts = counts.iter();
        counts
            .map(|count| (short(count.name), count.count))
            .collect()
    };
    let noted = |what| {
        let noted = journal.iter().filter(|(_, noted, _)| *noted == what);
        noted.count() as u64
    };
    assert_eq!(
        counted(&report.inputs),
        [("Price", noted("price")), ("Halt", noted("halt"))]
    );
    assert_eq!(
        counted(&report.scheduled),
        [("Review", noted("review")), ("Expire", noted("expire"))]
    );
    assert_eq!(noted("halt") + noted("price"), 3_000);
    assert_eq!(report.events(), 3_000 + noted("review") + noted("expire"));
    assert_eq!(report.span, Some((at(0), journal.last().unwrap().0)));
    assert!(!report.stopped);
    assert_eq!(
        report.events_per_second(),
        report.events() as f64 / report.wall.as_secs_f64()
    );
}
