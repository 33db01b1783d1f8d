//! Queries and commands: one handler each, and the results.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Waker};

use static_bus::{asynchronous::BusError, prelude::*};
use tokio::sync::oneshot;

use crate::ready;

struct GetRate;
query!(GetRate -> u32, name = "rates.get");
struct Convert(u32);
query!(Convert -> u32, name = "rates.convert");
struct Pay(u32);
command!(Pay -> Result<(), OverTheLimit>, name = "bank.pay");
struct Log(u32);
command!(Log, name = "bank.log");

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0} is over the limit")]
struct OverTheLimit(u32);

struct Converter;
impl<B: AsyncSendQuery<GetRate>> AsyncQueryHandler<Convert, B> for Converter {
    async fn handle(&self, query: Convert, bus: &B) -> Result<u32, BusError> {
        Ok(query.0 * bus.send_async(GetRate).await?)
    }
}

#[tokio::test]
async fn the_answer_of_a_nested_send_arrives_once_it_is_there() {
    let (tell, told) = oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let bus = BusBuilder::new()
        .register_query_async::<Convert, _>(Converter)
        .register_query_async_fn(|_: GetRate| {
            let told = told.lock().unwrap().take().expect("it is asked once");
            async { Ok(told.await.expect("somebody tells")) }
        })
        .build();
    let mut answer = pin!(bus.send_async(Convert(7)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(answer.as_mut().poll(&mut context).is_pending());
    tell.send(3).unwrap();
    assert_eq!(answer.await.unwrap(), 21);
}

#[test]
fn an_error_of_a_nested_call_reaches_the_caller() {
    let bus = BusBuilder::new()
        .register_query_async::<Convert, _>(Converter)
        .register_query_async_fn(|_: GetRate| async {
            Err(BusError::rejected::<GetRate>("no rate today"))
        })
        .build();
    let error = ready(bus.send_async(Convert(7))).unwrap_err();
    assert_eq!(error.message(), "rates.get");
    assert_eq!(
        error.to_string(),
        "rates.get: its handler failed: no rate today"
    );
}

#[test]
fn a_handler_that_does_not_wait_answers_an_asynchronous_send_as_well() {
    let bus = BusBuilder::new()
        .register_query_fn(|_: GetRate| 3)
        .register_query_async::<Convert, _>(Converter)
        .build();
    assert_eq!(bus.send::<GetRate>(GetRate), 3);
    assert_eq!(ready(bus.send_async(GetRate)).unwrap(), 3);
    assert_eq!(ready(bus.send_async(Convert(7))).unwrap(), 21);
}

#[test]
fn a_call_that_nobody_awaits_does_not_run() {
    let runs = AtomicU32::new(0);
    let bus = BusBuilder::new()
        .register_query_fn(|_: GetRate| runs.fetch_add(1, Relaxed))
        .register_command_fn(|_: Log| {
            runs.fetch_add(1, Relaxed);
        })
        .build();
    drop(bus.send_async(GetRate));
    drop(bus.execute_async(Log(1)));
    assert_eq!(runs.load(Relaxed), 0);
    ready(bus.execute_async(Log(1))).unwrap();
    assert_eq!(runs.load(Relaxed), 1);
}

#[test]
fn an_error_of_a_command_is_rejected_with_its_source() {
    let limit = |command: Pay| match command.0 {
        0..=100 => Ok(()),
        amount => Err(OverTheLimit(amount)),
    };
    let bus = BusBuilder::new().register_command_fn(limit).build();
    assert!(ready(bus.execute_async(Pay(100))).is_ok());
    let error = ready(bus.execute_async(Pay(101))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bank.pay: its handler failed: 101 is over the limit"
    );
    assert!(error.is_retryable());
    let BusError::Rejected { source, .. } = error else {
        panic!("{error:?} is another variant");
    };
    assert_eq!(
        source.downcast_ref::<OverTheLimit>(),
        Some(&OverTheLimit(101))
    );
}

#[test]
fn an_asynchronous_command_returns_what_its_handler_returned() {
    let bus = BusBuilder::new()
        .register_command_async_fn(|command: Pay| async move {
            match command.0 {
                0..=100 => Ok(()),
                amount => Err(BusError::refused::<Pay>(OverTheLimit(amount))),
            }
        })
        .build();
    assert!(ready(bus.execute_async(Pay(100))).is_ok());
    let error = ready(bus.execute_async(Pay(101))).unwrap_err();
    assert!(!error.is_retryable());
}

#[test]
fn a_dropped_call_drops_its_handler() {
    struct Guard<'a>(&'a AtomicU32);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let cancelled = &AtomicU32::new(0);
    let bus = BusBuilder::new()
        .register_query_async::<Convert, _>(Converter)
        .register_query_async_fn(|_: GetRate| async move {
            let _guard = Guard(cancelled);
            std::future::pending().await
        })
        .build();
    {
        let mut call = pin!(bus.send_async(Convert(7)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(cancelled.load(Relaxed), 0);
    }
    assert_eq!(cancelled.load(Relaxed), 1);
}

#[test]
fn a_panic_unwinds_to_whoever_polls_and_the_bus_is_as_it_was() {
    let healthy = AtomicU32::new(0);
    let bus = BusBuilder::new()
        .register_query_async::<Convert, _>(Converter)
        .register_query_async_fn(|_: GetRate| {
            let rate = healthy.fetch_add(1, Relaxed);
            async move {
                assert!(rate > 0, "no rate yet");
                Ok(rate)
            }
        })
        .build();
    let panic = catch_unwind(AssertUnwindSafe(|| ready(bus.send_async(Convert(7))))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"no rate yet"));
    assert_eq!(ready(bus.send_async(Convert(7))).unwrap(), 7);
}

#[test]
fn a_service_can_be_registered_through_a_pointer() {
    #[derive(Default)]
    struct Counter(AtomicU32);
    impl<B> AsyncCommandHandler<Log, B> for Counter {
        async fn handle(&self, command: Log, _bus: &B) -> Result<(), BusError> {
            self.0.fetch_add(command.0, Relaxed);
            Ok(())
        }
    }
    impl<B> AsyncQueryHandler<GetRate, B> for Counter {
        async fn handle(&self, _: GetRate, _bus: &B) -> Result<u32, BusError> {
            Ok(self.0.load(Relaxed))
        }
    }
    let counter = Counter::default();
    let borrowing = BusBuilder::new()
        .register_command_async::<Log, _>(&counter)
        .register_query_async::<GetRate, _>(&counter)
        .build();
    ready(borrowing.execute_async(Log(2))).unwrap();
    assert_eq!(ready(borrowing.send_async(GetRate)).unwrap(), 2);

    let shared = Arc::new(counter);
    let owning = BusBuilder::new()
        .register_command_async::<Log, _>(Arc::clone(&shared))
        .register_query_async::<GetRate, _>(Box::new(shared))
        .build();
    ready(owning.execute_async(Log(3))).unwrap();
    assert_eq!(ready(owning.send_async(GetRate)).unwrap(), 5);
}

/// Asynchronous calls require a bus that is `Sync`; synchronous calls do not.
#[test]
fn a_bus_that_cannot_be_shared_still_dispatches_without_waiting() {
    let last = Rc::new(Cell::new(0));
    let seen = Rc::clone(&last);
    let bus = BusBuilder::new()
        .register_command_fn(move |command: Log| seen.set(command.0))
        .register_query_async_fn(|_: GetRate| async { Ok(1) })
        .build();
    bus.execute(Log(7));
    assert_eq!(last.get(), 7);
}
