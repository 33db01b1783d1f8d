//! Shutdown, in every order.

use crate::{Cancel, Input, PATIENCE, Tick, number, take_all};
use static_bus::live::{self, PostError, TryPostError};
use static_bus::mailbox::Cascade;
use static_bus::prelude::*;
use std::{sync::mpsc, thread};

#[test]
fn dropping_the_senders_loses_nothing_that_they_posted() {
    let (sender, mut receiver) = live::channel::<Input>(8);
    let second = sender.clone();
    sender.post(Tick(1)).unwrap();
    second.post(Tick(2)).unwrap();
    drop(sender);
    assert!(!receiver.is_closed(), "one sender is left");
    drop(second);
    assert!(receiver.is_closed());
    assert_eq!(receiver.by_ref().map(number).collect::<Vec<_>>(), [1, 2]);
    assert!(receiver.next().is_none());
}

#[test]
fn a_closed_channel_gives_the_message_back() {
    let (sender, receiver) = live::channel::<Input>(8);
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.post(Tick(1)), Err(PostError(Tick(1))));
    assert_eq!(
        sender.try_post(Cancel(2)),
        Err(TryPostError::Closed(Cancel(2)))
    );
    assert_eq!(sender.undelivered(), None, "both were given back");
}

#[test]
fn a_full_channel_that_is_closed_gives_the_message_back_as_closed() {
    let (sender, receiver) = live::channel::<Input>(1);
    sender.post(Tick(1)).unwrap();
    receiver.close();
    assert_eq!(sender.try_post(Tick(2)), Err(TryPostError::Closed(Tick(2))));
    assert_eq!(take_all(&receiver), [1]);
}

#[test]
fn what_was_accepted_before_the_receiver_closes_is_received() {
    let (sender, receiver) = live::channel::<Input>(8);
    sender.post(Tick(1)).unwrap();
    receiver.close();
    assert_eq!(sender.post(Tick(2)), Err(PostError(Tick(2))));
    assert!(receiver.map(number).eq([1]));
}

#[test]
fn what_was_accepted_before_a_sender_closes_is_received() {
    let (sender, receiver) = live::channel::<Input>(8);
    let second = sender.clone();
    sender.post(Tick(1)).unwrap();
    sender.close();
    assert_eq!(second.post(Tick(2)), Err(PostError(Tick(2))));
    assert!(receiver.map(number).eq([1]));
}

#[test]
fn what_a_dropped_receiver_left_can_be_reclaimed_once() {
    let (sender, receiver) = live::channel::<Input>(8);
    let second = sender.clone();
    for n in 0..3 {
        sender.post(Tick(n)).unwrap();
    }
    assert_eq!(receiver.try_next().map(number), Some(0));
    assert!(sender.reclaim().is_none(), "the receiver can still take it");
    drop(receiver);
    assert_eq!(second.reclaim().map(number), Some(1));
    assert_eq!(sender.reclaim().map(number), Some(2));
    assert!(sender.reclaim().is_none());
}

#[test]
fn messages_without_a_receiver_are_counted_where_no_error_can_be_returned() {
    let (sender, receiver) = live::channel::<Input>(8);
    drop(receiver);
    let bus = BusBuilder::new()
        .register_command::<Cancel, _>(sender.clone())
        .subscribe::<Tick, _>(sender.clone())
        .build();
    bus.execute(Cancel(1));
    bus.publish(&Tick(2));
    PostMessage::post(&sender, Tick(3));

    let undelivered = sender.undelivered().unwrap();
    assert_eq!((undelivered.count, undelivered.first), (3, "orders.cancel"));
    assert_eq!(
        undelivered.to_string(),
        "3 messages were posted to a closed channel and dropped, first orders.cancel: \
         end the threads that post before the one that receives"
    );
}

#[test]
fn a_sender_that_waits_learns_that_the_receiver_is_gone() {
    let closed_only = |receiver: live::Receiver<Input>| {
        receiver.close();
        std::mem::forget(receiver);
    };
    for close in [drop, closed_only] {
        let (sender, receiver) = live::channel::<Input>(1);
        sender.post(Tick(0)).unwrap();
        let (report, reports) = mpsc::channel();
        thread::spawn(move || {
            report.send(None).unwrap();
            report.send(Some(sender.post(Tick(1)))).unwrap();
        });
        assert_eq!(reports.recv_timeout(PATIENCE), Ok(None));
        close(receiver);
        assert_eq!(
            reports.recv_timeout(PATIENCE),
            Ok(Some(Err(PostError(Tick(1)))))
        );
    }
}

#[test]
fn a_receiver_that_waits_learns_that_the_last_sender_is_gone() {
    let (sender, receiver) = live::channel::<Input>(1);
    let (report, reports) = mpsc::channel();
    thread::spawn(move || {
        report.send(None).unwrap();
        report.send(Some(receiver.count())).unwrap();
    });
    assert_eq!(reports.recv_timeout(PATIENCE), Ok(None));
    drop(sender);
    assert_eq!(reports.recv_timeout(PATIENCE), Ok(Some(0)));
}

#[test]
fn a_panic_of_the_thread_that_receives_closes_the_channel_and_loses_nothing_that_waits() {
    let (sender, receiver) = live::channel::<Input>(8);
    sender.post(Tick(1)).unwrap();
    sender.post(Tick(2)).unwrap();
    let thread = thread::spawn(move || {
        let bus = BusBuilder::new()
            .subscribe_fn(|_: &Tick| panic!("the handler of the test panics"))
            .register_command_fn(|_: Cancel| {})
            .build();
        receiver.for_each(|input| input.deliver(&bus));
    });
    assert!(thread.join().is_err());
    assert_eq!(sender.post(Tick(3)), Err(PostError(Tick(3))));
    assert_eq!(sender.reclaim().map(number), Some(2));
    assert!(sender.reclaim().is_none());
}

#[test]
fn each_message_is_dropped_once_whoever_is_dropped_first() {
    use std::sync::Arc;
    struct Note {
        _alive: Arc<()>,
    }
    event!(Note);
    mailbox! { enum Notes { event Note } }

    for sender_first in [true, false] {
        let (sender, receiver) = live::channel::<Notes>(8);
        let alive = Arc::new(());
        for _ in 0..5 {
            let _alive = alive.clone();
            sender.post(Note { _alive }).unwrap();
        }
        drop(receiver.try_next());
        assert_eq!(Arc::strong_count(&alive), 5);
        if sender_first {
            drop(sender);
            drop(receiver);
        } else {
            drop(receiver);
            drop(sender);
        }
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
