use crate::at;
use proptest::{collection::vec, prelude::*};
use static_bus::{
    prelude::*,
    time::{Handle, Time, Timeline},
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

/// A numbered message.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Due(usize);
event!(Due);
mailbox! {
    #[derive(Debug, PartialEq)]
    enum Timers { event Due }
}

/// Records the delivered messages with their times.
struct Journal<'a> {
    timeline: &'a Timeline<Timers>,
    seen: RefCell<Vec<(Time, usize)>>,
}
impl<'a> Journal<'a> {
    fn of(timeline: &'a Timeline<Timers>) -> Self {
        let seen = RefCell::default();
        Journal { timeline, seen }
    }
}
impl<B> EventHandler<Due, B> for Journal<'_> {
    fn handle(&self, due: &Due, _: &B) {
        self.seen.borrow_mut().push((self.timeline.now(), due.0));
    }
}

/// Runs a function for each message.
struct OnDue<F>(F);
impl<B, F: Fn(usize)> EventHandler<Due, B> for OnDue<F> {
    fn handle(&self, due: &Due, _: &B) {
        (self.0)(due.0);
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Schedule { at: Time, priority: u32 },
    Cancel { nth: usize },
    AdvanceTo(Time),
}

/// Times on both sides of the epoch, at which the timelines begin.
fn times() -> impl Strategy<Value = Time> {
    (-5..25i64).prop_map(at)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (times(), 0..3u32).prop_map(|(at, priority)| Step::Schedule { at, priority }),
        2 => (0..100usize).prop_map(|nth| Step::Cancel { nth }),
        1 => times().prop_map(Step::AdvanceTo),
    ];
    vec(step, 0..200)
}

/// The result of each step of `steps`: the delivered messages, or the cancelled one.
fn run(steps: &[Step], timeline: Timeline<Timers>) -> Vec<Vec<(Time, usize)>> {
    let journal = Journal::of(&timeline);
    let bus = BusBuilder::new().subscribe::<Due, _>(&journal).build();
    let mut handles: Vec<Handle> = vec![];
    let step = |step: &Step| {
        match *step {
            Step::Schedule { at, priority } => {
                let message = Due(handles.len());
                handles.push(timeline.schedule_with_priority(at, priority, message));
            }
            Step::Cancel { nth } => {
                if let Some(handle) = handles.get(nth)
                    && let Some(Timers::Due(Due(number))) = timeline.cancel(*handle)
                {
                    return vec![(timeline.now(), number)];
                }
            }
            Step::AdvanceTo(time) => {
                let delivered = timeline.advance_to(time, &bus).unwrap();
                assert_eq!(delivered, journal.seen.borrow().len());
            }
        }
        journal.seen.take()
    };
    steps.iter().map(step).collect()
}

/// The same with a plain list, sorted before each use.
fn run_model(steps: &[Step]) -> Vec<Vec<(Time, usize)>> {
    let mut now = Time::EPOCH;
    let mut numbers = 0..;
    let mut waiting: Vec<(Time, u32, usize)> = vec![];
    let step = |step: &Step| match *step {
        Step::Schedule { at, priority } => {
            waiting.push((at.max(now), priority, numbers.next().unwrap()));
            vec![]
        }
        Step::Cancel { nth } => {
            let found = waiting.extract_if(.., |(_, _, number)| *number == nth);
            found.map(|(_, _, number)| (now, number)).collect()
        }
        Step::AdvanceTo(time) => {
            now = now.max(time);
            waiting.sort();
            let due = waiting.extract_if(.., |(at, _, _)| *at <= now);
            due.map(|(at, _, number)| (at, number)).collect()
        }
    };
    steps.iter().map(step).collect()
}

proptest! {
    #[test]
    fn messages_come_by_time_then_priority_then_sequence_except_those_cancelled(steps in steps()) {
        prop_assert_eq!(run(&steps, Timeline::new()), run_model(&steps));
    }

    #[test]
    fn shuffled_ties_change_only_the_order_of_ties(steps in steps(), seed: u64) {
        let priority = |number: usize| {
            let mut scheduled = steps.iter().filter_map(|step| match step {
                Step::Schedule { priority, .. } => Some(*priority),
                _ => None,
            });
            scheduled.nth(number).unwrap()
        };
        let shuffled = run(&steps, Timeline::new().shuffle_ties(seed));
        let model = run_model(&steps);
        prop_assert_eq!(shuffled.len(), model.len());
        for (mut shuffled, model) in shuffled.into_iter().zip(model) {
            // The sort is stable, so it only undoes the shuffling of ties.
            prop_assert!(shuffled.is_sorted_by_key(|(time, number)| (*time, priority(*number))));
            shuffled.sort_by_key(|(time, number)| (*time, priority(*number), *number));
            prop_assert_eq!(shuffled, model);
        }
    }

    #[test]
    fn the_length_and_the_next_time_are_those_of_the_messages_that_wait(
        times in vec((0..20i64).prop_map(at), 1..50),
        cancelled in vec(any::<bool>(), 50),
    ) {
        let timeline = Timeline::<Timers>::new();
        let handles: Vec<_> = times.iter().map(|at| timeline.schedule(*at, Due(0))).collect();
        for (handle, _) in handles.iter().zip(&cancelled).filter(|(_, cancelled)| **cancelled) {
            timeline.cancel(*handle);
        }
        let waiting = || times.iter().zip(&cancelled).filter(|(_, cancelled)| !**cancelled);
        prop_assert_eq!(timeline.len(), waiting().count());
        prop_assert_eq!(timeline.is_empty(), waiting().count() == 0);
        prop_assert_eq!(timeline.next_at(), waiting().map(|(at, _)| *at).min());
    }
}

#[test]
fn every_order_of_three_ties_occurs_and_one_seed_gives_one_order() {
    let steps: Vec<_> = [Step::Schedule {
        at: at(1),
        priority: 0,
    }; 3]
        .into_iter()
        .chain([Step::AdvanceTo(at(1))])
        .collect();
    let order = |seed| {
        run(&steps, Timeline::new().shuffle_ties(seed))
            .pop()
            .unwrap()
    };
    let orders: BTreeSet<_> = (0..100).map(order).collect();
    assert_eq!(orders.len(), 6);
    assert!((0..100).all(|seed| order(seed) == order(seed)));
}

#[test]
fn what_a_delivery_schedules_within_the_time_is_delivered_in_its_turn() {
    let timeline = Timeline::<Timers>::new();
    let journal = Journal::of(&timeline);
    let bus = BusBuilder::new()
        .subscribe::<Due, _>(&journal)
        .subscribe::<Due, _>(OnDue(|number| {
            if number == 0 {
                timeline.schedule(at(7), Due(10)); // before the target
                timeline.schedule(at(5), Due(11)); // now: after the current one
                timeline.schedule(at(2), Due(12)); // the past means now
                timeline.schedule(at(21), Due(13)); // after the target
            }
        }))
        .build();
    timeline.schedule(at(5), Due(0));
    timeline.schedule(at(5), Due(1));
    timeline.schedule(at(9), Due(2));
    assert_eq!(timeline.advance_to(at(20), &bus), Ok(6));
    assert_eq!(
        journal.seen.take(),
        [(5, 0), (5, 1), (5, 11), (5, 12), (7, 10), (9, 2)]
            .map(|(time, number)| (at(time), number))
    );
    assert_eq!((timeline.now(), timeline.next_at()), (at(20), Some(at(21))));
}

#[test]
fn time_never_goes_back() {
    let timeline = Timeline::<Timers>::new();
    let journal = Journal::of(&timeline);
    let bus = BusBuilder::new().subscribe::<Due, _>(&journal).build();
    timeline.advance_to(at(10), &bus).unwrap();
    assert_eq!(timeline.advance_to(at(3), &bus), Ok(0));
    assert_eq!(timeline.now(), at(10));
    timeline.schedule(at(4), Due(1));
    assert_eq!(timeline.next_at(), Some(at(10)));
    assert_eq!(timeline.advance_to(at(3), &bus), Ok(1));
    assert_eq!(journal.seen.take(), [(at(10), 1)]);
}

#[test]
fn the_last_time_there_is_can_be_reached() {
    let timeline = Timeline::<Timers>::new();
    let bus = BusBuilder::new().build();
    timeline.schedule(Time::MAX, Due(0));
    assert_eq!(
        timeline.advance_to(Time::MAX - Duration::from_nanos(1), &bus),
        Ok(0)
    );
    assert_eq!(timeline.advance_to(Time::MAX, &bus), Ok(1));
}

#[test]
fn a_handler_can_cancel_what_is_due_now_and_advance_the_time_itself() {
    let timeline = Timeline::<Timers>::new();
    let journal = Journal::of(&timeline);
    let doomed = Cell::new(None);
    let inner = BusBuilder::new().subscribe::<Due, _>(&journal).build();
    let bus = BusBuilder::new()
        .subscribe::<Due, _>(&journal)
        .subscribe::<Due, _>(OnDue(|number| {
            if number == 0 {
                assert!(timeline.cancel(doomed.take().unwrap()).is_some());
                timeline.advance_to(at(6), &inner).unwrap();
            }
        }))
        .build();
    timeline.schedule(at(5), Due(0));
    doomed.set(Some(timeline.schedule(at(5), Due(1))));
    timeline.schedule(at(6), Due(2));
    timeline.schedule(at(7), Due(3));
    assert_eq!(timeline.advance_to(at(7), &bus), Ok(2));
    assert_eq!(journal.seen.take(), [(at(5), 0), (at(6), 2), (at(7), 3)]);
}

#[test]
fn a_spent_handle_never_cancels_a_later_message() {
    let timeline = Timeline::<Timers>::new();
    let bus = BusBuilder::new().build();
    let cancelled = timeline.schedule(at(5), Due(0));
    assert_eq!(timeline.cancel(cancelled), Some(Timers::Due(Due(0))));
    let delivered = timeline.schedule(at(5), Due(1));
    assert_eq!(timeline.cancel(cancelled), None);
    assert_eq!(timeline.advance_to(at(5), &bus), Ok(1));
    let waiting = timeline.schedule(at(9), Due(2));
    assert_eq!(timeline.cancel(delivered), None);
    assert_eq!(timeline.cancel(cancelled), None);
    assert_eq!(timeline.cancel(waiting), Some(Timers::Due(Due(2))));
}

/// The message that `Due` posts to the mailbox.
struct Effect(usize);
event!(Effect);
mailbox! { enum Posted { event Effect } }

/// Posts this number of effects.
struct Effects;
impl<B: PostMessage<Effect>> EventHandler<Due, B> for Effects {
    fn handle(&self, due: &Due, bus: &B) {
        (0..due.0).for_each(|n| bus.post(Effect(10 * due.0 + n)));
    }
}

#[test]
fn the_mailbox_is_settled_before_and_after_each_message() {
    let timeline = Timeline::<Timers>::new();
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|due: &Due| seen.borrow_mut().push(due.0))
        .subscribe::<Due, _>(Effects)
        .subscribe_fn(|effect: &Effect| seen.borrow_mut().push(effect.0))
        .mailbox::<Posted>(8)
        .build();
    timeline.schedule(at(1), Due(1));
    timeline.schedule(at(1), Due(2));
    bus.post(Effect(0));
    assert_eq!(timeline.advance_to(at(1), &bus), Ok(2));
    assert_eq!(seen.take(), [0, 1, 10, 2, 20, 21]);

    bus.post(Effect(0));
    assert_eq!(timeline.advance_to(at(1), &bus), Ok(0));
    assert_eq!(seen.take(), [0]);
}

#[test]
fn after_a_cascade_error_the_next_call_continues_and_nothing_is_lost() {
    let timeline = Timeline::<Timers>::new();
    let seen = RefCell::new(vec![]);
    let bus = BusBuilder::new()
        .subscribe_fn(|due: &Due| seen.borrow_mut().push(due.0))
        .subscribe::<Due, _>(Effects)
        .subscribe_fn(|effect: &Effect| seen.borrow_mut().push(effect.0))
        .mailbox::<Posted>(8)
        .cascade_limit(2)
        .build();
    timeline.schedule(at(1), Due(1));
    timeline.schedule(at(2), Due(5));
    timeline.schedule(at(3), Due(2));

    let error = timeline.advance_to(at(9), &bus).unwrap_err();
    assert_eq!((error.limit, error.next), (2, Effect::NAME));
    assert_eq!(seen.take(), [1, 10, 5, 50, 51]);
    assert_eq!((timeline.now(), timeline.len()), (at(2), 1));

    assert!(timeline.advance_to(at(9), &bus).is_err());
    assert_eq!(seen.take(), [52, 53]);
    assert_eq!((timeline.now(), timeline.len()), (at(2), 1));

    assert_eq!(timeline.advance_to(at(9), &bus), Ok(1));
    assert_eq!(seen.take(), [54, 2, 20, 21]);
    assert_eq!((timeline.now(), timeline.len()), (at(9), 0));
}
