//! The times of asynchronous handlers.

use super::*;
use crate::asynchronous::BusError;
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

/// Waits for one poll, and takes 10 before it and 20 after it.
struct Fetch;
query!(Fetch -> (), name = "fetch");
/// Takes 1, sends `Fetch`, and takes 2.
struct Load;
command!(Load, name = "load");
struct Loaded;
event!(Loaded, name = "loaded");

async fn one_poll() {
    let mut waited = false;
    poll_fn(|_| {
        let poll = if waited {
            Poll::Ready(())
        } else {
            Poll::Pending
        };
        waited = true;
        poll
    })
    .await
}
impl<B> AsyncQueryHandler<Fetch, B> for Work {
    async fn handle(&self, _: Fetch, _bus: &B) -> Result<(), BusError> {
        self.0.increment(10_u64);
        one_poll().await;
        self.0.increment(20_u64);
        Ok(())
    }
}
impl<B: AsyncSendQuery<Fetch> + SendQuery<Leaf>> AsyncCommandHandler<Load, B> for Work {
    async fn handle(&self, _: Load, bus: &B) -> Result<(), BusError> {
        self.0.increment(1_u64);
        bus.send(Leaf(5));
        bus.send_async(Fetch).await?;
        self.0.increment(2_u64);
        Ok(())
    }
}
impl<B: AsyncExecuteCommand<Load>> AsyncEventHandler<Loaded, B> for Work {
    async fn handle(&self, _: &Loaded, bus: &B) -> Result<(), BusError> {
        bus.execute_async(Load).await
    }
}
fn poll<F: Future>(future: core::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
macro_rules! bus {
    ($timed:expr, $work:expr) => {
        BusBuilder::new()
            .register_query::<Leaf, _>($work.clone())
            .register_query_async::<Fetch, _>($work.clone())
            .register_command_async::<Load, _>($work.clone())
            .subscribe_async::<Loaded, _>($work.clone())
            .subscribe_async::<Loaded, _>($work.clone())
            .layer($timed.clone())
            .build()
    };
}

#[test]
fn the_total_time_has_the_waiting_and_the_exclusive_time_only_the_polls() {
    let (timed, work) = timed::<AtomicU64>();
    let bus = bus!(timed, work);
    let mut call = pin!(bus.execute_async(Load));
    work.0.increment(4_000_u64);
    assert!(poll(call.as_mut()).is_pending());
    work.0.increment(500_u64);
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Ok(()))));
    assert_eq!(
        rows(&timed)[..3],
        [
            ("fetch", 1, 530, 30),
            ("leaf", 1, 5, 5),
            ("load", 1, 538, 3)
        ]
    );
}

#[test]
fn subscribers_that_run_concurrently_do_not_count_each_other() {
    let (timed, work) = timed::<AtomicU64>();
    let bus = bus!(timed, work);
    let mut call = pin!(bus.publish_async(&Loaded));
    assert!(poll(call.as_mut()).is_pending());
    work.0.increment(500_u64);
    assert!(poll(call.as_mut()).is_ready());
    // Each subscriber is polled twice, in turn: 16, 16, 22, 22.
    assert_eq!(
        rows(&timed),
        [
            ("fetch", 2, 2 * 530 + 16 + 22, 60),
            ("leaf", 2, 10, 10),
            ("load", 2, 2 * 538 + 16 + 22, 6),
            ("loaded", 1, 538 + 16, 0),
            ("loaded", 1, 538 + 22, 0)
        ]
    );
}

#[test]
fn a_cancelled_call_counts_until_it_is_dropped() {
    let (timed, work) = timed::<AtomicU64>();
    let bus = bus!(timed, work);
    drop(bus.execute_async(Load));
    assert_eq!(timed.report().handlers()[0].count(), 0, "never polled");
    {
        let mut call = pin!(bus.execute_async(Load));
        assert!(poll(call.as_mut()).is_pending());
        work.0.increment(500_u64);
    }
    assert_eq!(
        rows(&timed)[..3],
        [
            ("fetch", 1, 510, 10),
            ("leaf", 1, 5, 5),
            ("load", 1, 516, 1)
        ]
    );
    // The nesting is correct afterwards.
    bus.send::<Leaf>(Leaf(7));
    assert_eq!(rows(&timed)[1], ("fetch", 1, 510, 10));
}
