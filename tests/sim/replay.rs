use crate::market::{Timers, inputs, journal_of, whole_journal_of};
use static_bus::{
    prelude::*,
    sim::{Replay, ReplayError, Stream, Time, Timeline, Unsorted, merge},
};
use std::cell::RefCell;
use std::ops::ControlFlow;

/// An input that posts this number of notes.
struct Say(u32);
event!(Say);
/// A timer that posts a note.
struct Ring(u32);
event!(Ring);
struct Note(u32);
event!(Note);

mailbox! { enum Said { event Say } }
mailbox! { enum Rings { event Ring } }
mailbox! { enum Posted { event Note } }

struct Poster;
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
type Seen = RefCell<Vec<u32>>;

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

fn say(items: &[(Time, u32)]) -> Vec<Result<(Time, Said), Unsorted>> {
    items
        .iter()
        .map(|(time, n)| Ok((*time, Say(*n).into())))
        .collect()
}

#[test]
fn the_bus_is_quiescent_before_each_next_event_and_timers_go_before_inputs_of_their_time() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    for (at, number) in [(5, 40), (10, 41), (25, 42), (30, 43), (31, 44)] {
        timeline.schedule(at, Ring(number));
    }
    bus.post(Note(99));
    let report = Replay::new(&bus, &timeline, say(&[(10, 2), (10, 1), (20, 1), (30, 0)])).run();
    let expected = [
        99, // posted before the run
        40, 4000, 41, 4100, // due at 5 and 10
        2, 21, 22, 1, 11, // the inputs at 10
        1, 11, // and at 20
        42, 4200, 43, 4300, // due at 25 and 30
        0,
    ];
    assert_eq!(seen.take(), expected);
    assert_eq!(report.unwrap().span, Some((5, 30)));
    assert_eq!((timeline.now(), timeline.len()), (30, 1));
}

#[test]
fn what_an_input_schedules_for_now_comes_before_the_next_input() {
    let seen = Seen::default();
    let timeline = Timeline::<Rings>::new();
    let bus = BusBuilder::new()
        .subscribe_fn(|say: &Say| {
            seen.borrow_mut().push(say.0);
            timeline.schedule(0, Ring(10 + say.0));
        })
        .subscribe_fn(|ring: &Ring| seen.borrow_mut().push(ring.0))
        .build();
    let inputs = merge([Stream::new(
        "s",
        [(3, Said::from(Say(1))), (3, Say(2).into())],
    )]);
    Replay::new(&bus, &timeline, inputs).run().unwrap();
    assert_eq!(seen.take(), [1, 11, 2, 12]); // also after the last one
}

#[test]
fn a_report_counts_events_by_name_in_order_of_first_appearance() {
    let timeline = Timeline::<Timers>::new();
    let mut report = None;
    let journal = journal_of(&timeline, inputs(1_000), |replay| {
        report = Some(replay.run().unwrap());
    });
    let report = report.unwrap();
    let counted = |counts: &[static_bus::sim::Count]| -> Vec<_> {
        let short = |name: &'static str| name.rsplit("::").next().unwrap();
        counts
            .iter()
            .map(|count| (short(count.name), count.count))
            .collect()
    };
    let noted = |what| {
        journal
            .iter()
            .filter(|(_, noted, _)| *noted == what)
            .count() as u64
    };
    let first = |what| journal.iter().position(|(_, noted, _)| *noted == what);
    assert!(first("halt") < first("price") && first("review") < first("expire"));
    assert_eq!(
        counted(&report.inputs),
        [("Halt", noted("halt")), ("Price", noted("price"))]
    );
    assert_eq!(
        counted(&report.scheduled),
        [("Review", noted("review")), ("Expire", noted("expire"))]
    );
    assert_eq!(noted("halt") + noted("price"), 3_000);
    assert_eq!(report.events(), 3_000 + noted("review") + noted("expire"));
    assert_eq!(report.span, Some((0, journal.last().unwrap().0)));
    assert!(!report.stopped);
    assert_eq!(
        report.events_per_second(),
        report.events() as f64 / report.wall.as_secs_f64()
    );
}

#[test]
fn a_report_of_nothing_has_no_span_and_no_speed() {
    let bus = BusBuilder::new().build();
    let timeline = Timeline::<Said>::new();
    let replay = Replay::new(&bus, &timeline, say(&[]));
    assert_eq!(replay.report().span, None);
    assert_eq!(replay.report().events(), 0);
    assert_eq!(replay.report().events_per_second(), 0.0);
}

#[test]
fn a_report_is_a_table_for_people() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    timeline.schedule(5, Ring(1));
    let report = Replay::new(&bus, &timeline, say(&[(3, 0), (6, 0)]))
        .run()
        .unwrap();
    let table = report.to_string();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["input", Say::NAME, "2"]);
    assert_eq!(lines[1], ["scheduled", Ring::NAME, "1"]);
    assert_eq!(lines[2][..6], ["3", "events,", "time", "3", "to", "6,"]);
    assert_eq!(lines[2][9..], ["events", "per", "second"]);
}

#[test]
fn progress_is_called_every_65_536_events_and_never_else() {
    let timeline = Timeline::<Timers>::new();
    let mut calls = vec![];
    journal_of(&timeline, inputs(60_000), |replay| {
        let report = replay.run_with(|progress| {
            calls.push((progress.events, progress.time, progress.wall));
            ControlFlow::Continue(())
        });
        let events = report.unwrap().events();
        assert!(events > 3 * 60_000);
        assert_eq!(calls.len() as u64, events / 65_536);
    });
    assert!(
        calls
            .iter()
            .map(|(events, ..)| *events)
            .eq((1..).map(|n| n * 65_536).take(calls.len()))
    );
    assert!(calls.is_sorted_by_key(|(_, time, _)| *time));
    assert!(calls.is_sorted_by_key(|(.., wall)| *wall));
}

#[test]
fn a_replay_that_was_stopped_goes_on_where_it_was() {
    let expected = whole_journal_of(&Timeline::new(), inputs(120_000));
    let timeline = Timeline::<Timers>::new();
    let journal = journal_of(&timeline, inputs(120_000), |replay| {
        let mut stops = 0;
        while replay.run_with(|_| ControlFlow::Break(())).unwrap().stopped {
            stops += 1;
        }
        assert_eq!(stops, replay.report().events() / 65_536);
        assert!(stops > 5);
    });
    assert_eq!(journal, expected);
}

#[test]
fn a_replay_can_be_stopped_while_a_timer_rings_without_end() {
    let timeline = Timeline::<Rings>::new();
    let bus = BusBuilder::new()
        .subscribe_fn(|ring: &Ring| {
            timeline.schedule(0, Ring(ring.0));
        })
        .build();
    timeline.schedule(0, Ring(0));
    let mut replay = Replay::new(&bus, &timeline, say(&[(1, 0)]));
    let report = replay.run_with(|_| ControlFlow::Break(())).unwrap();
    assert!(report.stopped);
    assert_eq!(report.inputs, []);
    assert_eq!(report.events(), 65_536);
}

#[test]
fn a_replay_in_steps_is_the_same_as_a_whole_one() {
    let expected = whole_journal_of(&Timeline::new(), inputs(2_000));
    let end = expected.last().unwrap().0;
    let timeline = Timeline::<Timers>::new();
    let mut inputs = inputs(2_000);
    let mut reached = vec![];
    let journal = journal_of(&timeline, inputs.by_ref(), |replay| {
        for time in (0..end).step_by(97) {
            replay.until(time).run().unwrap();
            reached.push((time, timeline.now()));
        }
        replay.until(end).run().unwrap();
    });
    assert!(reached.iter().all(|(asked, now)| asked == now));
    assert_eq!(journal, expected);
}

#[test]
fn until_ends_a_run_at_a_time_with_the_timeline_advanced_to_it() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    timeline.schedule(15, Ring(40));
    timeline.schedule(21, Ring(41));
    let inputs = say(&[(10, 0), (20, 0), (21, 0)]);
    Replay::new(&bus, &timeline, inputs)
        .until(20)
        .run()
        .unwrap();
    assert_eq!(seen.take(), [0, 40, 4000, 0]);
    assert_eq!((timeline.now(), timeline.len()), (20, 1));

    Replay::new(&bus, &timeline, say(&[]))
        .until(30)
        .run()
        .unwrap();
    assert_eq!(seen.take(), [41, 4100]);
    assert_eq!(timeline.now(), 30);
}

#[test]
fn after_a_cascade_error_the_next_run_continues_and_nothing_is_lost() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    timeline.schedule(10, Ring(40));
    let mut replay = Replay::new(&bus, &timeline, say(&[(5, 4), (10, 1)]));
    let Err(ReplayError::Cascade(error)) = replay.run() else {
        panic!("4 notes are above the limit of 3")
    };
    assert_eq!((error.limit, error.next), (3, Note::NAME));
    assert_eq!(seen.take(), [4, 41, 42, 43]);
    assert_eq!(replay.report().events(), 1);

    assert_eq!(replay.run().unwrap().events(), 3);
    assert_eq!(seen.take(), [44, 40, 4000, 1, 11]);
}

#[test]
fn a_cascade_error_of_a_timer_does_not_lose_the_input_that_follows() {
    let seen = Seen::default();
    let timeline = Timeline::<Said>::new();
    let bus = bus!(seen);
    timeline.schedule(10, Say(5));
    let mut replay = Replay::new(&bus, &timeline, say(&[(10, 1)]));
    assert!(matches!(replay.run(), Err(ReplayError::Cascade(_))));
    assert_eq!(seen.take(), [5, 51, 52, 53]);
    assert_eq!(replay.run().unwrap().events(), 2);
    assert_eq!(seen.take(), [54, 55, 1, 11]);
}

#[test]
fn an_error_of_the_inputs_reaches_the_caller_after_all_that_was_in_order() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    let items = [(5, 0), (9, 1), (8, 2)].map(|(time, n)| (time, Said::from(Say(n))));
    let mut replay = Replay::new(&bus, &timeline, merge([Stream::new("s", items)]));
    let error = replay.run().unwrap_err();
    assert_eq!(
        error.to_string(),
        "stream `s` is not sorted: time 8 comes after time 9; sort it by time before merging"
    );
    assert_eq!(seen.take(), [0, 1, 11]);
    assert_eq!(replay.report().events(), 2);
}

#[test]
fn an_input_that_comes_too_late_is_an_error_that_names_both_times() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    let mut replay = Replay::new(&bus, &timeline, say(&[(9, 0), (8, 1), (9, 2)]));
    assert_eq!(
        replay.run().unwrap_err().to_string(),
        "an input of time 8 comes when the simulated time is 9: \
         sort the inputs, and start them no earlier than the timeline is"
    );
    assert_eq!(seen.take(), [0]);
    replay.run().unwrap();
    assert_eq!(seen.take(), [2, 21, 22]);
}
