//! The guarantees of the channel about allocations. The counting allocator is that of this whole test
//! program, and counts per thread.

use allocation_counter::measure;
use static_bus::live::{self, Wait};
use static_bus::mailbox::Cascade;
use static_bus::prelude::*;
use std::{cell::Cell, thread};

#[derive(Clone)]
struct Fill([u64; 8]);
event!(Fill);
mailbox! { enum Input { event Fill } }

#[test]
fn posting_and_receiving_allocate_nothing() {
    const MESSAGES: u64 = 10_000;
    for wait in [Wait::Spin, Wait::Yield, Wait::Park] {
        // Less capacity than messages, so that both sides wait.
        let (sender, receiver) = live::channel::<Input>(4);
        let sender = sender.with_wait(wait);
        thread::scope(|threads| {
            let posting = threads.spawn(move || {
                let bus = BusBuilder::new().subscribe::<Fill, _>(sender).build();
                measure(|| (0..MESSAGES).for_each(|n| bus.publish(&Fill([n; 8]))))
            });
            let total = Cell::new(0);
            let bus = BusBuilder::new()
                .subscribe_fn(|fill: &Fill| total.set(total.get() + fill.0[7]))
                .build();
            let receiving = measure(|| receiver.for_each(|input| input.deliver(&bus)));
            assert_eq!(total.get(), MESSAGES * (MESSAGES - 1) / 2);
            assert_eq!(receiving.count_total, 0, "{wait:?}");
            assert_eq!(posting.join().unwrap().count_total, 0, "{wait:?}");
        });
    }
}

#[test]
fn refusing_allocates_nothing() {
    let (sender, receiver) = live::channel::<Input>(1);
    let allocations = measure(|| {
        assert!(sender.try_post(Fill([1; 8])).is_ok());
        assert!(sender.try_post(Fill([2; 8])).is_err());
        drop(receiver);
        assert!(sender.post(Fill([3; 8])).is_err());
        PostMessage::post(&sender, Fill([4; 8]));
    });
    assert_eq!(allocations.count_total, 0);
}
