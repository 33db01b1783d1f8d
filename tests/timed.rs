//! The guarantees of the layer `Timed` with the real clock.
#![cfg(all(feature = "timing", feature = "async"))]

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use static_bus::asynchronous::BusError;
use static_bus::layer::{Counter, Timed, Timing};
use static_bus::prelude::*;

struct Nap(Duration);
query!(Nap -> (), name = "nap");
struct Ring(u32);
command!(Ring -> Result<(), &'static str>, name = "ring");
struct Rung;
event!(Rung, name = "rung");
struct Listen;
query!(Listen -> u32, name = "listen");

struct Bell;
impl<B: PublishEvent<Rung>> CommandHandler<Ring, B> for Bell {
    fn handle(&self, command: Ring, bus: &B) -> Result<(), &'static str> {
        bus.publish(&Rung);
        if command.0.is_multiple_of(2) {
            Ok(())
        } else {
            Err("odd")
        }
    }
}

#[test]
fn the_times_are_those_of_the_clock() {
    let timed = Timed::new();
    let bus = BusBuilder::new()
        .register_query_fn(|nap: Nap| thread::sleep(nap.0))
        .layer(timed.clone())
        .build();
    let nap = Duration::from_millis(20);
    bus.send::<Nap>(Nap(nap));
    let report = timed.report();
    let times = &report.handlers()[0];
    // The clock is calibrated to better than one percent.
    let least = nap.mul_f64(0.99);
    for time in [times.total(), times.exclusive(), times.max(), times.mean()] {
        assert!(time >= least && time < Duration::from_secs(60), "{report}");
    }
    assert!(times.percentile(50.0).unwrap() >= least, "{report}");
    assert_eq!(times.share(), 1.0);
}

#[test]
fn the_part_of_an_asynchronous_handler_before_its_future_is_measured() {
    let nap = Duration::from_millis(20);
    let timed = Timed::new();
    let bus = BusBuilder::new()
        .register_query_async_fn(|nap: Nap| {
            thread::sleep(nap.0);
            async { Ok(()) }
        })
        .layer(timed.clone())
        .build();
    let answer = pin!(bus.send_async(Nap(nap))).poll(&mut Context::from_waker(Waker::noop()));
    assert!(answer.is_ready());
    let report = timed.report();
    let times = &report.handlers()[0];
    let least = nap.mul_f64(0.99);
    assert!(
        times.total() >= least && times.exclusive() >= least,
        "{report}"
    );
}

/// A bus whose command publishes an event with two subscribers.
macro_rules! bus {
    ($timed:expr) => {
        BusBuilder::new()
            .register_command::<Ring, _>(Bell)
            .subscribe_fn(|_: &Rung| ())
            .subscribe_fn(|_: &Rung| ())
            .layer($timed.clone())
            .build()
    };
}
fn nothing_is_allocated<C: Counter>(timed: &Timed<C>, bus: &impl ExecuteCommand<Ring>) {
    let counted = measure(|| {
        for number in 0..1_000 {
            assert_eq!(bus.execute(Ring(number)).is_ok(), number % 2 == 0);
        }
    });
    assert_eq!(counted.count_total, 0);
    let report = timed.report();
    let counts: Vec<_> = report.handlers().iter().map(|row| row.count()).collect();
    assert_eq!(counts, [1_000; 3], "{report}");
    timed.reset();
}

#[test]
fn a_message_that_passes_allocates_nothing() {
    let timed = Timed::new();
    let bus = bus!(timed);
    nothing_is_allocated(&timed, &bus);
    thread::scope(|scope| {
        scope.spawn(|| nothing_is_allocated(&timed, &bus));
    });
    let timed = Timed::local();
    let bus = bus!(timed);
    nothing_is_allocated(&timed, &bus);
}

/// Waits for one poll.
struct Ear;
impl<B> AsyncQueryHandler<Listen, B> for Ear {
    async fn handle(&self, _: Listen, _bus: &B) -> Result<u32, BusError> {
        let mut waited = false;
        poll_fn(|_| match std::mem::replace(&mut waited, true) {
            true => Poll::Ready(Ok(7)),
            false => Poll::Pending,
        })
        .await
    }
}

#[test]
fn an_asynchronous_message_that_passes_allocates_nothing() {
    let timed = Timed::new();
    let bus = BusBuilder::new()
        .register_query_async(Ear)
        .layer(timed.clone())
        .build();
    let mut context = Context::from_waker(Waker::noop());
    let counted = measure(|| {
        let mut call = pin!(bus.send_async(Listen));
        assert!(call.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(answer) = call.as_mut().poll(&mut context) else {
            panic!("it waits for one poll")
        };
        assert_eq!(answer.unwrap(), 7);
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(timed.report().handlers()[0].count(), 1);
}

#[test]
fn calls_of_many_threads_are_all_counted() {
    const THREADS: u64 = 4;
    const CALLS: u32 = 5_000;
    let timed = Timed::new();
    let bus = bus!(timed);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for number in 0..CALLS {
                    _ = bus.execute(Ring(number));
                }
            });
        }
    });
    let report = timed.report();
    for row in report.handlers() {
        assert_eq!(row.count(), THREADS * u64::from(CALLS), "{report}");
        assert!(row.exclusive() <= row.total(), "{report}");
    }
}

assert_impl_all!(Timing<AtomicU64>: Send, Sync, Clone);
assert_impl_all!(Timed: Send, Sync, Clone, Default);
assert_not_impl_any!(Timing<Cell<u64>>: Send, Sync);

#[test]
fn the_future_of_a_call_through_the_layer_is_sent_to_another_thread() {
    fn is_send<F: Future + Send>(future: F) -> F {
        future
    }
    let bus = BusBuilder::new()
        .register_query_async(Ear)
        .layer(Timed::new())
        .build();
    drop(is_send(bus.send_async(Listen)));
}

#[test]
fn a_layer_names_its_handlers() {
    let timed = Timed::local();
    let _bus = bus!(timed);
    let text = format!("{timed:?}");
    assert!(text.starts_with("Timed ["), "{text}");
    assert!(text.contains("command ring -> timed::Bell"), "{text}");
}
