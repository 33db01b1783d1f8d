//! Posting to a channel that has space or is full.

use crate::{Cancel, Input, PATIENCE, Tick, number, take_all};
use static_bus::live::{self, TryPostError, Wait};
use static_bus::prelude::*;
use std::{sync::mpsc, thread};

#[test]
fn messages_arrive_in_the_order_in_which_they_were_posted() {
    let (sender, receiver) = live::channel::<Input>(4);
    for n in 0..10 {
        sender.post(Tick(2 * n)).unwrap();
        sender.post(Cancel(2 * n + 1)).unwrap();
        assert_eq!(take_all(&receiver), [2 * n, 2 * n + 1]);
    }
}

#[test]
fn try_post_to_a_full_channel_gives_the_message_back() {
    for capacity in [1, 2, 3, 8] {
        let (sender, receiver) = live::channel::<Input>(capacity);
        for n in 0..capacity {
            assert_eq!(sender.try_post(Tick(n as u64)), Ok(()));
        }
        assert_eq!(
            sender.try_post(Cancel(7)),
            Err(TryPostError::Full(Cancel(7)))
        );
        assert_eq!(sender.try_post(Tick(8)), Err(TryPostError::Full(Tick(8))));
        assert_eq!(receiver.len(), capacity);

        assert_eq!(receiver.try_next().map(number), Some(0));
        assert_eq!(sender.try_post(Cancel(9)), Ok(()));
        assert_eq!(receiver.len(), capacity);
    }
}

#[test]
fn post_waits_for_space_in_every_manner() {
    for wait in [Wait::Spin, Wait::Yield, Wait::Park] {
        let (sender, receiver) = live::channel::<Input>(2);
        let sender = sender.with_wait(wait);
        let (about_to_wait, waits) = mpsc::channel();
        thread::scope(|threads| {
            threads.spawn(move || {
                sender.post(Tick(0)).unwrap();
                sender.post(Tick(1)).unwrap();
                about_to_wait.send(()).unwrap();
                for n in 2..1_000 {
                    sender.post(Tick(n)).unwrap();
                }
            });
            waits.recv_timeout(PATIENCE).unwrap();
            assert!(receiver.map(number).eq(0..1_000), "{wait:?}");
        });
    }
}

#[test]
fn each_of_many_parked_senders_gets_its_space() {
    let (sender, receiver) = live::channel::<Input>(1);
    sender.post(Tick(0)).unwrap();
    thread::scope(|threads| {
        for n in 1..=8 {
            let sender = sender.clone();
            threads.spawn(move || sender.post(Tick(n)).unwrap());
        }
        drop(sender);
        let mut received: Vec<u64> = receiver.map(number).collect();
        received.sort_unstable();
        assert!(received.into_iter().eq(0..=8));
    });
}

#[test]
fn a_sender_is_a_bus_that_posts() {
    fn announce(bus: &impl PostMessage<Tick>) {
        bus.post(Tick(7));
    }
    let (sender, receiver) = live::channel::<Input>(1);
    announce(&sender);
    let object: &dyn PostMessage<Cancel> = &sender;
    assert_eq!(take_all(&receiver), [7]);
    object.post(Cancel(8));
    assert_eq!(take_all(&receiver), [8]);
}

#[test]
#[should_panic(
    expected = "a channel of capacity 0 holds no message: give it a capacity of 1 or more"
)]
fn a_channel_of_capacity_0_panics() {
    live::channel::<Input>(0);
}
