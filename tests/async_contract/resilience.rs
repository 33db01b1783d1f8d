//! Timeout, retry and limits, on a paused clock.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use static_bus::asynchronous::BusError;
use static_bus::layer::{ConcurrencyLimit, RateLimit, Retry, Timeout};
use static_bus::prelude::*;
use tokio::time::{Instant, sleep};

#[derive(Clone)]
struct Get(u32);
query!(Get -> u32, name = "get");
#[derive(Clone)]
struct Put;
command!(Put, name = "put");
struct Moved;
event!(Moved, name = "moved");

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_longer_than_its_timeout_is_cancelled() {
    let ended = &AtomicU32::new(0);
    let bus = BusBuilder::new()
        .register_query_async_fn(|query: Get| async move {
            sleep(Duration::from_secs(query.0.into())).await;
            ended.fetch_add(1, SeqCst);
            Ok(query.0)
        })
        .register_command_async_fn(|_: Put| std::future::pending())
        .layer(Timeout::after(Duration::from_secs(5)))
        .build();
    assert_eq!(bus.send_async(Get(4)).await.unwrap(), 4);
    let begin = Instant::now();
    let error = bus.send_async(Get(6)).await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
    assert!(
        matches!(error, BusError::Timeout { message: "get", .. }),
        "{error}"
    );
    sleep(Duration::from_secs(60)).await;
    assert_eq!(ended.load(SeqCst), 1, "the handler went on");
    assert_eq!(bus.execute_async(Put).await.unwrap_err().message(), "put");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_may_pass_is_retried_up_to_the_limit() {
    let calls = &AtomicU32::new(0);
    let bus = BusBuilder::new()
        .register_query_async_fn(|query: Get| async move {
            match calls.fetch_add(1, SeqCst) {
                call if call < query.0 => Err(BusError::rejected::<Get>("busy")),
                call => Ok(call),
            }
        })
        .layer(Retry::times(3).delays(Duration::from_secs(1), Duration::from_secs(2)))
        .build();
    let begin = Instant::now();
    assert_eq!(bus.send_async(Get(3)).await.unwrap(), 3);
    // One second, two, two, each up to twice as long.
    let waited = begin.elapsed().as_secs_f64();
    assert!((5.0..=10.0).contains(&waited), "{waited} s");

    calls.store(0, SeqCst);
    let error = bus.send_async(Get(10)).await.unwrap_err();
    assert_eq!(error.to_string(), "get: its handler failed: busy");
    assert_eq!(calls.load(SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_stays_is_not_retried() {
    let calls = &AtomicU32::new(0);
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: Put| async move {
            calls.fetch_add(1, SeqCst);
            Err(BusError::refused::<Put>("no"))
        })
        .layer(Retry::times(3))
        .build();
    bus.execute_async(Put).await.unwrap_err();
    assert_eq!(calls.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn each_subscriber_is_retried_alone() {
    let (good, bad) = (&AtomicU32::new(0), &AtomicU32::new(0));
    let bus = BusBuilder::new()
        .subscribe_async_fn(|_: &Moved| async move {
            good.fetch_add(1, SeqCst);
            Ok(())
        })
        .subscribe_async_fn(|_: &Moved| async move {
            match bad.fetch_add(1, SeqCst) {
                0 => Err(BusError::rejected::<Moved>("busy")),
                _ => Ok(()),
            }
        })
        .layer(Retry::times(1))
        .build();
    bus.publish_async(&Moved).await.unwrap();
    assert_eq!((good.load(SeqCst), bad.load(SeqCst)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn no_more_handlers_run_at_once_than_the_limit_of_the_layer() {
    static RUNNING: AtomicU32 = AtomicU32::new(0);
    async fn run() {
        assert!(RUNNING.fetch_add(1, SeqCst) < 3, "a fourth handler runs");
        sleep(Duration::from_secs(1)).await;
        RUNNING.fetch_sub(1, SeqCst);
    }
    let bus = BusBuilder::new()
        .register_query_async_fn(|query: Get| async move {
            run().await;
            Ok(query.0)
        })
        .register_command_async_fn(|_: Put| async move {
            run().await;
            Ok(())
        })
        .layer(ConcurrencyLimit::new(3))
        .build();
    let begin = Instant::now();
    let (a, b, c, d, e) = tokio::join!(
        bus.send_async(Get(1)),
        bus.execute_async(Put),
        bus.send_async(Get(2)),
        bus.send_async(Get(3)),
        bus.execute_async(Put)
    );
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
    assert_eq!([a.unwrap(), c.unwrap(), d.unwrap()], [1, 2, 3]);
    b.and(e).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_after_a_cancelled_call() {
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: Put| async {
            sleep(Duration::from_secs(60)).await;
            Ok(())
        })
        .layer(ConcurrencyLimit::new(1))
        .build();
    let cancelled = tokio::time::timeout(Duration::from_secs(1), bus.execute_async(Put)).await;
    cancelled.unwrap_err();
    bus.execute_async(Put).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_begin_at_the_rate_of_the_layer() {
    let bus = BusBuilder::new()
        .register_query_async_fn(|query: Get| async move { Ok(query.0) })
        .layer(RateLimit::per_second(10).burst(2))
        .build();
    let begin = Instant::now();
    for n in 0..12 {
        bus.send_async(Get(n)).await.unwrap();
    }
    // Two at once, and ten at 100 ms each.
    let waited = begin.elapsed().as_millis();
    assert!((1000..=1020).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_within_a_retry_limits_each_attempt_and_around_it_all_together() {
    let calls = &AtomicU32::new(0);
    let hangs = |_: Get| async move {
        calls.fetch_add(1, SeqCst);
        std::future::pending().await
    };
    let second = Duration::from_secs(1);
    let retry = || Retry::times(2).delays(second / 10, second / 10);
    let within = BusBuilder::new()
        .register_query_async_fn(hangs)
        .layer(Timeout::after(second))
        .layer(retry())
        .build();
    within.send_async(Get(1)).await.unwrap_err();
    assert_eq!(calls.swap(0, SeqCst), 3);
    let around = BusBuilder::new()
        .register_query_async_fn(hangs)
        .layer(retry())
        .layer(Timeout::after(second))
        .build();
    around.send_async(Get(1)).await.unwrap_err();
    assert_eq!(calls.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_the_rate_begin_in_order() {
    let begun = std::sync::Mutex::new(vec![]);
    let bus = BusBuilder::new()
        .register_query_async_fn(|query: Get| {
            begun.lock().unwrap().push(query.0);
            async move { Ok(query.0) }
        })
        .layer(RateLimit::per_second(10).burst(1))
        .build();
    let begin = Instant::now();
    let (a, b, c, d) = tokio::join!(
        bus.send_async(Get(1)),
        bus.send_async(Get(2)),
        bus.send_async(Get(3)),
        bus.send_async(Get(4))
    );
    a.and(b).and(c).and(d).unwrap();
    assert_eq!(*begun.lock().unwrap(), [1, 2, 3, 4]);
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[test]
fn limits_of_zero_are_refused_with_their_reason() {
    type Make = fn();
    let cases: [(Make, &str); 4] = [
        (|| _ = Timeout::after(Duration::ZERO), "a timeout of zero"),
        (
            || drop(ConcurrencyLimit::new(0)),
            "a limit of no handler at once",
        ),
        (|| _ = RateLimit::per_second(0), "a limit of no call"),
        (
            || drop(RateLimit::per_second(1).burst(0)),
            "a limit of no call",
        ),
    ];
    for (make, reason) in cases {
        let panic = std::panic::catch_unwind(make).unwrap_err();
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string());
        assert!(text.starts_with(reason), "{text}");
    }
}
