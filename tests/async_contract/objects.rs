//! Buses as trait objects: the same calls, with one box for each future.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Waker};

use static_bus::asynchronous::{
    BusError, DynAsyncExecuteCommand, DynAsyncPublishEvent, DynAsyncSendQuery,
};
use static_bus::message::PublishError;
use static_bus::prelude::*;

use crate::ready;

struct GetRate;
query!(GetRate -> u32, name = "rates.get");
struct GetFee(u32);
query!(GetFee -> u32, name = "rates.fee");
struct SetRate(u32);
command!(SetRate, name = "rates.set");
struct RateChanged(u32);
event!(RateChanged, name = "rates.changed");

/// What a part of a program needs of a bus, as one object.
trait Rates:
    DynAsyncSendQuery<GetRate>
    + DynAsyncSendQuery<GetFee>
    + DynAsyncExecuteCommand<SetRate>
    + DynAsyncPublishEvent<RateChanged>
{
}
impl<B> Rates for B where
    B: DynAsyncSendQuery<GetRate>
        + DynAsyncSendQuery<GetFee>
        + DynAsyncExecuteCommand<SetRate>
        + DynAsyncPublishEvent<RateChanged>
{
}

#[derive(Default)]
struct Bank {
    rate: AtomicU32,
    seen: AtomicU32,
}
impl<B> AsyncQueryHandler<GetRate, B> for Bank {
    async fn handle(&self, _: GetRate, _bus: &B) -> Result<u32, BusError> {
        tokio::task::yield_now().await;
        Ok(self.rate.load(Relaxed))
    }
}
impl<B: AsyncPublishEvent<RateChanged>> AsyncCommandHandler<SetRate, B> for Bank {
    async fn handle(&self, command: SetRate, bus: &B) -> Result<(), BusError> {
        if command.0 == 0 {
            return Err(BusError::refused::<SetRate>("no rate"));
        }
        self.rate.store(command.0, Relaxed);
        bus.publish_async(&RateChanged(command.0)).await
    }
}
impl<B> AsyncEventHandler<RateChanged, B> for Bank {
    async fn handle(&self, event: &RateChanged, _bus: &B) -> Result<(), BusError> {
        tokio::task::yield_now().await;
        self.seen.store(event.0, Relaxed);
        match event.0 {
            13 => Err(BusError::rejected::<RateChanged>("not thirteen")),
            _ => Ok(()),
        }
    }
}

fn rates(bank: &Arc<Bank>) -> Arc<dyn Rates> {
    let bus = BusBuilder::new()
        .register_query_async::<GetRate, _>(Arc::clone(bank))
        .register_query_fn(|query: GetFee| query.0 / 10)
        .register_command_async::<SetRate, _>(Arc::clone(bank))
        .subscribe_async::<RateChanged, _>(Arc::clone(bank))
        .build();
    Arc::new(bus)
}

#[tokio::test]
async fn one_object_serves_several_messages_and_can_be_spawned() {
    let bank = Arc::new(Bank::default());
    let rates = rates(&bank);
    let task = tokio::spawn(async move {
        rates.execute_boxed(SetRate(7)).await?;
        rates.publish_boxed(&RateChanged(8)).await?;
        let fee = rates.send_boxed(GetFee(70)).await?;
        Ok::<_, BusError>(rates.send_boxed(GetRate).await? + fee)
    });
    assert_eq!(task.await.unwrap().unwrap(), 14);
    assert_eq!(bank.seen.load(Relaxed), 8);
}

/// A module: generic over the bus, which is a sized type.
async fn double<B>(bus: &B) -> Result<u32, BusError>
where
    B: AsyncSendQuery<GetRate>,
{
    Ok(bus.send_async(GetRate).await? * 2)
}
async fn set<B: AsyncExecuteCommand<SetRate>>(bus: &B, rate: u32) -> Result<(), BusError> {
    bus.execute_async(SetRate(rate)).await
}
async fn announce<B: AsyncPublishEvent<RateChanged>>(bus: &B) -> Result<(), BusError> {
    bus.publish_async(&RateChanged(9)).await
}
struct Doubler;
impl<B: AsyncSendQuery<GetRate>> AsyncQueryHandler<GetFee, B> for Doubler {
    async fn handle(&self, _: GetFee, bus: &B) -> Result<u32, BusError> {
        double(bus).await
    }
}

#[tokio::test]
async fn a_pointer_to_an_object_is_the_bus_of_a_module() {
    let bank = Arc::new(Bank::default());
    let rates = rates(&bank);
    let sender: Arc<dyn DynAsyncSendQuery<GetRate>> = rates.clone();
    let executor: Arc<dyn DynAsyncExecuteCommand<SetRate>> = rates.clone();
    let publisher: Arc<dyn DynAsyncPublishEvent<RateChanged>> = rates.clone();

    set(&executor, 3).await.unwrap();
    set(&&*executor, 4).await.unwrap();
    announce(&publisher).await.unwrap();
    announce(&&*publisher).await.unwrap();
    assert_eq!(double(&sender).await.unwrap(), 8);
    assert_eq!(double(&&*sender).await.unwrap(), 8);
    assert_eq!(Doubler.handle(GetFee(0), &sender).await.unwrap(), 8);
    assert_eq!(bank.seen.load(Relaxed), 9);

    // `&` and `Arc` of an object are buses, so they have objects as well.
    let nested: Arc<dyn DynAsyncSendQuery<GetRate>> = Arc::new(sender);
    assert_eq!(double(&nested).await.unwrap(), 8);
}

/// A double for tests implements the trait, and so has an object.
#[test]
fn a_bus_that_is_no_bus_of_the_library_has_an_object_too() {
    struct Fixed;
    impl AsyncSendQuery<GetRate> for Fixed {
        async fn send_async(&self, _: GetRate) -> Result<u32, BusError> {
            Ok(5)
        }
    }
    let object: &dyn DynAsyncSendQuery<GetRate> = &Fixed;
    assert_eq!(ready(object.send_async(GetRate)).unwrap(), 5);
}

#[tokio::test]
async fn errors_arrive_as_they_were() {
    let rates = rates(&Arc::default());
    let executor: &dyn DynAsyncExecuteCommand<SetRate> = &*rates;
    let error = executor.execute_async(SetRate(0)).await.unwrap_err();
    assert_eq!(error.to_string(), "rates.set: its handler failed: no rate");
    assert!(!error.is_retryable());

    let publisher: &dyn DynAsyncPublishEvent<RateChanged> = &*rates;
    let error = publisher.publish_async(&RateChanged(13)).await.unwrap_err();
    let BusError::Rejected { source, .. } = error else {
        panic!("{error:?} is another variant");
    };
    let failures = source.downcast::<PublishError<BusError>>().unwrap();
    assert_eq!(failures.failures().len(), 1);
}

#[test]
fn a_dropped_call_of_an_object_drops_its_handler() {
    struct Guard<'a>(&'a AtomicU32);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let cancelled = &AtomicU32::new(0);
    let bus = BusBuilder::new()
        .register_query_async_fn(|_: GetRate| async move {
            let _guard = Guard(cancelled);
            std::future::pending().await
        })
        .build();
    let object: &dyn DynAsyncSendQuery<GetRate> = &bus;
    {
        let mut call = pin!(object.send_async(GetRate));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(cancelled.load(Relaxed), 0);
    }
    assert_eq!(cancelled.load(Relaxed), 1);
}

#[test]
fn each_call_of_an_object_allocates_one_box() {
    let bus = BusBuilder::new()
        .register_query_fn(|_: GetRate| 7)
        .register_command_fn(|_: SetRate| ())
        .subscribe_fn(|_: &RateChanged| ())
        .build();
    let (sender, executor, publisher): (
        &dyn DynAsyncSendQuery<GetRate>,
        &dyn DynAsyncExecuteCommand<SetRate>,
        &dyn DynAsyncPublishEvent<RateChanged>,
    ) = (&bus, &bus, &bus);
    let allocations = allocation_counter::measure(|| {
        assert_eq!(ready(sender.send_async(GetRate)).unwrap(), 7);
        ready(executor.execute_async(SetRate(7))).unwrap();
        ready(publisher.publish_async(&RateChanged(7))).unwrap();
    });
    assert_eq!(allocations.count_total, 3);
}
