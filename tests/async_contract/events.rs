//! Events: all subscribers run concurrently, and every failure is returned.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Waker};

use static_bus::{asynchronous::BusError, message::PublishError, prelude::*};
use tokio::sync::Barrier;
use tokio::task::yield_now;

use crate::ready;

struct Sold(u32);
event!(Sold, name = "shop.sold");
struct Mail;
event!(Mail -> Result<(), &'static str>, name = "shop.mail");

/// Two subscribers that wait for each other: if they ran in sequence, they would never end.
#[tokio::test]
async fn subscribers_run_at_the_same_time() {
    let both = Barrier::new(2);
    let wait = |_: &Sold| async {
        both.wait().await;
        Ok(())
    };
    let bus = BusBuilder::new()
        .subscribe_async_fn(wait)
        .subscribe_fn(|_: &Sold| ())
        .subscribe_async_fn(wait)
        .build();
    bus.publish_async(&Sold(1)).await.unwrap();
}

#[tokio::test]
async fn subscribers_start_in_registration_order_and_publish_waits_for_all() {
    let steps = Mutex::new(Vec::new());
    let step = |name| steps.lock().unwrap().push(name);
    let bus = BusBuilder::new()
        .subscribe_async_fn(|_: &Sold| async {
            step("first begins");
            yield_now().await;
            yield_now().await;
            step("first ends");
            Ok(())
        })
        .subscribe_fn(|_: &Sold| step("second"))
        .subscribe_async_fn(|_: &Sold| async {
            step("third begins");
            yield_now().await;
            step("third ends");
            Ok(())
        })
        .build();
    bus.publish_async(&Sold(1)).await.unwrap();
    let steps = steps.into_inner().unwrap();
    assert_eq!(
        steps,
        [
            "first begins",
            "second",
            "third begins",
            "third ends",
            "first ends"
        ]
    );
}

#[test]
fn no_subscriber_is_fine() {
    let bus = BusBuilder::new().build();
    ready(bus.publish_async(&Sold(1))).unwrap();
    ready(bus.publish_async(&Mail)).unwrap();
}

/// In the order of registration, for any run times.
#[tokio::test]
async fn all_failures_are_collected_with_their_positions() {
    struct Slow;
    impl<B: Sync> AsyncEventHandler<Mail, B> for Slow {
        async fn handle(&self, _: &Mail, _bus: &B) -> Result<(), BusError> {
            yield_now().await;
            Err(BusError::refused::<Mail>("no such address"))
        }
    }
    let last = AtomicU32::new(0);
    let bus = BusBuilder::new()
        .subscribe_async::<Mail, _>(Slow)
        .subscribe_fn(|_: &Mail| Ok(()))
        .subscribe_fn(|_: &Mail| Err("the server is down"))
        .subscribe_async_fn(|_: &Mail| async {
            last.fetch_add(1, Relaxed);
            Ok(())
        })
        .build();
    let error = bus.publish_async(&Mail).await.unwrap_err();
    assert_eq!(last.load(Relaxed), 1, "the others run all the same");
    assert_eq!(error.message(), "shop.mail");
    assert!(error.is_retryable(), "one of the failures is");

    let BusError::Rejected { source, .. } = error else {
        panic!("{error:?} is another variant");
    };
    let published = *source.downcast::<PublishError<BusError>>().unwrap();
    assert!(
        published
            .to_string()
            .starts_with("2 of 4 handlers of shop.mail failed: ")
    );
    let failures = published.into_failures();
    let positions: Vec<_> = failures
        .iter()
        .map(|it| (it.position, it.error.to_string()))
        .collect();
    let expected = [
        (0, "shop.mail: its handler failed: no such address"),
        (2, "shop.mail: its handler failed: the server is down"),
    ];
    assert_eq!(
        positions,
        expected.map(|(position, text)| (position, text.to_owned()))
    );
    assert!(failures[0].handler.ends_with("::Slow"));
}

#[test]
fn a_failure_that_stands_does_not_invite_another_try() {
    let bus = BusBuilder::new()
        .subscribe_async_fn(|_: &Sold| async { Err(BusError::refused::<Sold>("never")) })
        .build();
    assert!(
        !ready(bus.publish_async(&Sold(1)))
            .unwrap_err()
            .is_retryable()
    );
}

#[test]
fn subscribers_that_do_not_wait_hear_both_kinds_of_publish() {
    let sum = AtomicU32::new(0);
    let bus = BusBuilder::new()
        .subscribe_fn(|event: &Sold| {
            sum.fetch_add(event.0, Relaxed);
        })
        .build();
    bus.publish(&Sold(1));
    ready(bus.publish_async(&Sold(2))).unwrap();
    assert_eq!(sum.load(Relaxed), 3);
}

#[test]
fn a_dropped_publish_drops_the_subscribers_that_wait() {
    struct Guard<'a>(&'a AtomicU32);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let cancelled = &AtomicU32::new(0);
    let finished = &AtomicU32::new(0);
    let wait = |_: &Sold| async move {
        let _guard = Guard(cancelled);
        std::future::pending().await
    };
    let bus = BusBuilder::new()
        .subscribe_async_fn(wait)
        .subscribe_fn(|_: &Sold| {
            finished.fetch_add(1, Relaxed);
        })
        .subscribe_async_fn(wait)
        .build();
    {
        let mut publish = pin!(bus.publish_async(&Sold(1)));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(publish.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!((cancelled.load(Relaxed), finished.load(Relaxed)), (0, 1));
    }
    assert_eq!((cancelled.load(Relaxed), finished.load(Relaxed)), (2, 1));
}

/// A subscriber can borrow the event across an `.await`.
#[tokio::test]
async fn a_subscriber_can_use_the_event_after_it_has_waited() {
    #[derive(Default)]
    struct Revenue(AtomicU32);
    impl<B: Sync> AsyncEventHandler<Sold, B> for Revenue {
        async fn handle(&self, event: &Sold, _bus: &B) -> Result<(), BusError> {
            yield_now().await;
            self.0.fetch_add(event.0, Relaxed);
            Ok(())
        }
    }
    let revenue = Revenue::default();
    let bus = BusBuilder::new()
        .subscribe_async::<Sold, _>(&revenue)
        .subscribe_async::<Sold, _>(&revenue)
        .build();
    bus.publish_async(&Sold(7)).await.unwrap();
    assert_eq!(revenue.0.load(Relaxed), 14);
}
