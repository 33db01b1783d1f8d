//! The memory of a call: nothing on the heap, and in its caller's future the size of its own future.

use std::hint::black_box;

use static_bus::{asynchronous::BusError, prelude::*};

use crate::ready;

struct First(u64);
query!(First -> u64);
struct Second(u64);
query!(Second -> u64);
struct Third(u64);
query!(Third -> u64);
struct Stop;
command!(Stop -> Result<(), &'static str>);
struct Heard(u64);
event!(Heard);

struct Chain;
impl<B: AsyncSendQuery<Second>> AsyncQueryHandler<First, B> for Chain {
    async fn handle(&self, query: First, bus: &B) -> Result<u64, BusError> {
        Ok(bus.send_async(Second(query.0 + 1)).await? + 1)
    }
}
impl<B: AsyncSendQuery<Third>> AsyncQueryHandler<Second, B> for Chain {
    async fn handle(&self, query: Second, bus: &B) -> Result<u64, BusError> {
        Ok(bus.send_async(Third(query.0 + 1)).await? + 1)
    }
}
impl<B: Sync> AsyncQueryHandler<Third, B> for Chain {
    async fn handle(&self, query: Third, _bus: &B) -> Result<u64, BusError> {
        tokio::task::yield_now().await;
        Ok(query.0)
    }
}
impl<B: Sync> AsyncCommandHandler<Stop, B> for Chain {
    async fn handle(&self, _: Stop, _bus: &B) -> Result<(), BusError> {
        Ok(())
    }
}
impl<B: Sync> AsyncEventHandler<Heard, B> for Chain {
    async fn handle(&self, event: &Heard, _bus: &B) -> Result<(), BusError> {
        black_box(event.0);
        Ok(())
    }
}

mod by_hand {
    use static_bus::asynchronous::BusError;

    pub struct Chain;
    impl Chain {
        pub async fn first(&self, n: u64, all: &Chain) -> Result<u64, BusError> {
            Ok(all.second(n + 1, all).await? + 1)
        }
        async fn second(&self, n: u64, all: &Chain) -> Result<u64, BusError> {
            Ok(all.third(n + 1, all).await? + 1)
        }
        async fn third(&self, n: u64, _: &Chain) -> Result<u64, BusError> {
            tokio::task::yield_now().await;
            Ok(n)
        }
    }
}

#[test]
fn a_call_allocates_nothing() {
    struct Ready;
    impl<B: Sync> AsyncQueryHandler<Third, B> for Ready {
        async fn handle(&self, query: Third, _bus: &B) -> Result<u64, BusError> {
            Ok(query.0)
        }
    }
    let bus = BusBuilder::new()
        .register_query_async::<First, _>(Chain)
        .register_query_async::<Second, _>(Chain)
        .register_query_async::<Third, _>(Ready)
        .register_command_async::<Stop, _>(Chain)
        .subscribe_async::<Heard, _>(Chain)
        .subscribe_fn(|event: &Heard| {
            black_box(event.0);
        })
        .subscribe_async::<Heard, _>(Chain)
        .build();
    let allocations = allocation_counter::measure(|| {
        assert_eq!(ready(bus.send_async(First(1))).unwrap(), 5);
        ready(bus.execute_async(Stop)).unwrap();
        ready(bus.publish_async(&Heard(1))).unwrap();
    });
    assert_eq!(allocations.count_total, 0);
}

#[tokio::test]
async fn a_nested_call_is_part_of_its_callers_future_and_as_large_as_by_hand() {
    let bus = BusBuilder::new()
        .register_query_async::<First, _>(Chain)
        .register_query_async::<Second, _>(Chain)
        .register_query_async::<Third, _>(Chain)
        .build();
    let all = by_hand::Chain;
    let (by_bus, by_hand) = (bus.send_async(First(1)), all.first(1, &all));
    assert_eq!(size_of_val(&by_bus), size_of_val(&by_hand));
    assert_eq!((by_bus.await.unwrap(), by_hand.await.unwrap()), (5, 5));
}

#[test]
fn a_bus_of_stateless_asynchronous_handlers_takes_no_space() {
    let bus = BusBuilder::new()
        .register_query_async::<Third, _>(Chain)
        .register_command_async::<Stop, _>(Chain)
        .subscribe_async::<Heard, _>(Chain)
        .build();
    assert_eq!(size_of_val(&bus), 0);
}
