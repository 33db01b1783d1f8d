//! A replay after a panic: the next run continues, and no input and no scheduled message is lost.

use crate::at;
use static_bus::{
    prelude::*,
    sim::{Replay, Stream, Unsorted, merge},
    time::{Time, Timeline},
};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// An input, which schedules a timer and posts a note.
struct Say(u32);
event!(Say);
struct Ring(u32);
event!(Ring);
struct Note(u32);
event!(Note);

mailbox! { enum Said { event Say } }
mailbox! { enum Rings { event Ring } }
mailbox! { enum Posted { event Note } }

/// Panics at one of the calls of `step`.
#[derive(Default)]
struct Bomb {
    steps: Cell<u32>,
    explodes_at: Cell<Option<u32>>,
}

impl Bomb {
    fn step(&self) {
        let step = self.steps.replace(self.steps.get() + 1);
        if self.explodes_at.get() == Some(step) {
            resume_unwind(Box::new("the bomb")); // prints nothing
        }
    }
}

/// Notes each message, and then steps.
struct Speaker<'a> {
    bomb: &'a Bomb,
    timeline: &'a Timeline<Rings>,
    seen: RefCell<Vec<(Time, u32)>>,
}

impl Speaker<'_> {
    fn note(&self, number: u32) {
        self.seen.borrow_mut().push((self.timeline.now(), number));
        self.bomb.step();
    }
}
impl<B: PostMessage<Note>> EventHandler<Say, B> for Speaker<'_> {
    fn handle(&self, say: &Say, bus: &B) {
        self.timeline.schedule(
            self.timeline.now() + Duration::from_nanos(3),
            Ring(100 + say.0),
        );
        bus.post(Note(200 + say.0));
        self.note(say.0);
    }
}
impl<B: PostMessage<Note>> EventHandler<Ring, B> for Speaker<'_> {
    fn handle(&self, ring: &Ring, bus: &B) {
        bus.post(Note(100 + ring.0));
        self.note(ring.0);
    }
}
impl<B> EventHandler<Note, B> for Speaker<'_> {
    fn handle(&self, note: &Note, _: &B) {
        self.note(note.0);
    }
}

/// Runs `step` again and again until it does not panic; returns the number of panics.
fn until_it_ends(mut step: impl FnMut()) -> u32 {
    (0..)
        .find(|_| catch_unwind(AssertUnwindSafe(&mut step)).is_ok())
        .unwrap()
}

/// Inputs of two streams, which step before each item and before each end.
fn inputs(bomb: &Bomb) -> impl Iterator<Item = Result<(Time, Said), Unsorted>> {
    let stream = |numbers: std::ops::Range<u32>| {
        let mut items = numbers.map(|n| (at((n / 2).into()), Said::from(Say(n))));
        Stream::new(
            "s",
            std::iter::from_fn(move || {
                bomb.step();
                items.next()
            }),
        )
    };
    merge([stream(1..9), stream(4..12), stream(3..3)])
}

/// The messages seen, the number of steps and the number of panics of a replay that is run until it ends.
fn replay_with_a_bomb_at(step: Option<u32>) -> (Vec<(Time, u32)>, u32, u32) {
    let (bomb, timeline) = (Bomb::default(), Timeline::new());
    bomb.explodes_at.set(step);
    let speaker = Speaker {
        bomb: &bomb,
        timeline: &timeline,
        seen: RefCell::default(),
    };
    let bus = BusBuilder::new()
        .subscribe::<Say, _>(&speaker)
        .subscribe::<Ring, _>(&speaker)
        .subscribe::<Note, _>(&speaker)
        .mailbox::<Posted>(8)
        .build();
    let mut replay = Replay::new(&bus, &timeline, inputs(&bomb));
    let panics = until_it_ends(|| drop(replay.until(at(100)).run().unwrap()));
    (speaker.seen.take(), bomb.steps.get(), panics)
}

#[test]
fn a_replay_continues_after_a_panic_of_any_handler_and_of_any_stream() {
    let (whole, steps, 0) = replay_with_a_bomb_at(None) else {
        panic!("no step panics")
    };
    assert_eq!(
        whole.len(),
        16 * 4,
        "16 inputs, as many timers, and a note for each"
    );
    assert_eq!(
        steps,
        16 * 4 + 16 + 3,
        "each message, each item and each end"
    );
    for step in 0..steps {
        let (seen, _, panics) = replay_with_a_bomb_at(Some(step));
        assert_eq!((seen, panics), (whole.clone(), 1), "a panic at step {step}");
    }
}

#[test]
fn a_replay_continues_after_a_panic_of_the_progress_callback() {
    for timers in [65_535, 65_536, 65_537] {
        let bus = BusBuilder::new().build();
        let timeline = Timeline::<Rings>::new();
        for n in 0..timers {
            timeline.schedule(at(5), Ring(n));
        }
        let said = [
            Ok::<_, Unsorted>((at(5), Said::from(Say(1)))),
            Ok((at(6), Say(2).into())),
        ];
        let mut replay = Replay::new(&bus, &timeline, said);
        let panics = until_it_ends(|| {
            let progress = |_: &_| -> ControlFlow<()> { resume_unwind(Box::new("no progress")) };
            replay.run_with(progress).unwrap();
        });
        assert_eq!(panics, 1);
        assert_eq!(replay.report().events(), u64::from(timers) + 2);
    }
}
