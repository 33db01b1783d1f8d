//! A receiver that waits.

use crate::{Input, PATIENCE, Tick, number};
use static_bus::live;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_message_ends_the_wait() {
    let (sender, receiver) = live::channel::<Input>(8);
    thread::scope(|threads| {
        threads.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            sender.post(Tick(7)).unwrap();
        });
        let start = Instant::now();
        let received = loop {
            match receiver.try_next() {
                None => receiver.park_until(Some(start + PATIENCE)),
                Some(input) => break number(input),
            }
            assert!(start.elapsed() < PATIENCE);
        };
        assert_eq!(received, 7);
    });
}

#[test]
fn the_deadline_ends_the_wait_and_not_earlier() {
    let (_sender, receiver) = live::channel::<Input>(8);
    let deadline = Instant::now() + Duration::from_millis(30);
    receiver.park_until(Some(deadline));
    assert!(Instant::now() >= deadline);
}

#[test]
fn a_deadline_in_the_past_is_no_wait() {
    let (_sender, receiver) = live::channel::<Input>(8);
    let start = Instant::now();
    receiver.park_until(Some(start));
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn a_message_that_waits_is_no_wait() {
    let (sender, receiver) = live::channel::<Input>(8);
    sender.post(Tick(7)).unwrap();
    receiver.park_until(None);
    assert_eq!(receiver.len(), 1);
}

#[test]
fn a_closed_channel_is_no_wait() {
    let (sender, receiver) = live::channel::<Input>(8);
    drop(sender);
    receiver.park_until(None);
    assert!(receiver.is_closed());
}

#[test]
fn a_waker_ends_the_wait() {
    let (_sender, receiver) = live::channel::<Input>(8);
    let (waker, stop) = (receiver.waker(), AtomicBool::new(false));
    thread::scope(|threads| {
        threads.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            stop.store(true, Ordering::Release);
            waker.wake_by_ref();
        });
        while !stop.load(Ordering::Acquire) {
            receiver.park_until(None);
        }
    });
}

#[test]
fn a_wake_before_the_wait_is_not_lost_and_ends_one_wait() {
    let (_sender, receiver) = live::channel::<Input>(8);
    receiver.waker().wake();
    receiver.park_until(None);

    let deadline = Instant::now() + Duration::from_millis(30);
    receiver.park_until(Some(deadline));
    assert!(Instant::now() >= deadline);
}
