//! Two threads that post to each other while both channels are full.

use crate::{Cancel, Input, PATIENCE, Tick};
use static_bus::live::{self, Receiver, Sender, TryPostError, Wait};
use static_bus::mailbox::Cascade;
use static_bus::prelude::*;
use std::{sync::mpsc, thread};

/// Answers each message with two to the other thread.
struct Twice(Sender<Input>);
impl<B> EventHandler<Tick, B> for Twice {
    fn handle(&self, tick: &Tick, _: &B) {
        PostMessage::post(&self.0, tick.clone());
        PostMessage::post(&self.0, tick.clone());
    }
}
impl<B> CommandHandler<Cancel, B> for Twice {
    fn handle(&self, _: Cancel, _: &B) {}
}

/// Delivers to a bus of its own until the channel is closed and empty.
fn run(receiver: Receiver<Input>, other: Sender<Input>) {
    let twice = Twice(other);
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(&twice)
        .register_command::<Cancel, _>(&twice)
        .build();
    receiver.for_each(|input| input.deliver(&bus));
}

#[test]
fn both_wait_until_a_third_thread_closes_the_channels() {
    for wait in [Wait::Spin, Wait::Yield, Wait::Park] {
        let (to_left, left) = live::channel::<Input>(2);
        let (to_right, right) = live::channel::<Input>(2);
        let (to_left, to_right) = (to_left.with_wait(wait), to_right.with_wait(wait));
        let (ended, ends) = mpsc::channel();
        to_left.post(Tick(0)).unwrap();
        for (receiver, other) in [(left, to_right.clone()), (right, to_left.clone())] {
            let ended = ended.clone();
            thread::spawn(move || {
                run(receiver, other);
                ended.send(()).unwrap();
            });
        }
        // Each message makes two, so both channels fill, and both threads wait in `post`.
        let full =
            |sender: &Sender<Input>| matches!(sender.try_post(Tick(1)), Err(TryPostError::Full(_)));
        let mut looks = 0;
        while looks < 1_000 {
            // Neither thread takes a message again once both wait.
            looks = if full(&to_left) && full(&to_right) {
                looks + 1
            } else {
                0
            };
            thread::yield_now();
        }
        assert!(ends.try_recv().is_err(), "no thread ends by itself");

        to_left.close();
        to_right.close();
        for _ in 0..2 {
            ends.recv_timeout(PATIENCE).unwrap();
        }
        assert!(to_left.undelivered().is_some() || to_right.undelivered().is_some());
        assert!(
            to_left.reclaim().is_none(),
            "what was accepted was delivered"
        );
        assert!(
            to_right.reclaim().is_none(),
            "what was accepted was delivered"
        );
    }
}
