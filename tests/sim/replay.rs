use crate::at;
use crate::market::{Timers, inputs, journal_of, whole_journal_of};
use crate::order::{Note, Posted, Poster, Ring, Rings, Said, Say, Seen, bus};
use static_bus::{
    prelude::*,
    sim::{Replay, ReplayError, Stream, Unsorted, merge},
    time::{Time, Timeline},
};
use std::ops::ControlFlow;

fn say(items: &[(i64, u32)]) -> Vec<Result<(Time, Said), Unsorted>> {
    items
        .iter()
        .map(|(time, n)| Ok((at(*time), Say(*n).into())))
        .collect()
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
    timeline.schedule(at(5), Ring(1));
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
    let (first, last) = (
        "1970-01-01T00:00:00.000000003Z",
        "1970-01-01T00:00:00.000000006Z,",
    );
    assert_eq!(lines[2][..5], ["3", "events,", first, "to", last]);
    assert_eq!(lines[2][8..], ["events", "per", "second"]);
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
            timeline.schedule(Time::EPOCH, Ring(ring.0));
        })
        .build();
    timeline.schedule(Time::EPOCH, Ring(0));
    let mut replay = Replay::new(&bus, &timeline, say(&[(1, 0)]));
    let report = replay.run_with(|_| ControlFlow::Break(())).unwrap();
    assert!(report.stopped);
    assert_eq!(report.inputs, []);
    assert_eq!(report.events(), 65_536);
}

#[test]
fn an_error_of_the_inputs_reaches_the_caller_after_all_that_was_in_order() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    let items = [(5, 0), (9, 1), (8, 2)].map(|(time, n)| (at(time), Said::from(Say(n))));
    let mut replay = Replay::new(&bus, &timeline, merge([Stream::new("s", items)]));
    let error = replay.run().unwrap_err();
    assert_eq!(
        error.to_string(),
        "stream `s` is not sorted: 1970-01-01T00:00:00.000000008Z comes after \
         1970-01-01T00:00:00.000000009Z; sort it by time before merging"
    );
    assert_eq!(seen.take(), [0, 1, 11]);
    assert_eq!(replay.report().events(), 2);
}

#[test]
fn an_input_that_comes_too_late_is_an_error_that_names_both_times_and_the_remedy() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let timeline = Timeline::<Rings>::new();
    let mut replay = Replay::new(&bus, &timeline, say(&[(9, 0), (8, 1), (9, 2)]));
    assert_eq!(
        replay.run().unwrap_err().to_string(),
        "an input of 1970-01-01T00:00:00.000000008Z comes when the time is already \
         1970-01-01T00:00:00.000000009Z: sort the inputs, and begin with `Timeline::starting_at` a time no \
         later than the first"
    );
    assert_eq!(seen.take(), [0]);
    replay.run().unwrap();
    assert_eq!(seen.take(), [2, 21, 22]);
}

#[test]
fn a_history_before_the_epoch_needs_a_timeline_that_starts_no_later() {
    let seen = Seen::default();
    let bus = bus!(seen);
    let history = [(-30, 0), (-10, 0), (10, 0)];
    let late = Replay::new(&bus, &Timeline::<Rings>::new(), say(&history)).run();
    assert!(
        matches!(late, Err(ReplayError::Late { time, now, .. }) if time == at(-30) && now == at(0))
    );
}
