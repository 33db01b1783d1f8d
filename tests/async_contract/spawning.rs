//! The requirements of `tokio::spawn`: futures that are `Send`, and `'static` if they own the bus.

use std::sync::{Arc, LazyLock};

use static_bus::{asynchronous::BusError, prelude::*};

struct GetRate;
query!(GetRate -> u32);
struct Convert(u32);
query!(Convert -> u32);
struct Pay(u32);
command!(Pay -> Result<(), &'static str>);
struct Paid(u32);
event!(Paid);

/// A module that is generic over the bus, and queries the rate.
struct Bank;
impl<B: AsyncSendQuery<GetRate>> AsyncQueryHandler<Convert, B> for Bank {
    async fn handle(&self, query: Convert, bus: &B) -> Result<u32, BusError> {
        tokio::task::yield_now().await;
        Ok(query.0 * bus.send_async(GetRate).await?)
    }
}
impl<B> AsyncCommandHandler<Pay, B> for Bank
where
    B: AsyncSendQuery<Convert> + AsyncPublishEvent<Paid>,
{
    async fn handle(&self, command: Pay, bus: &B) -> Result<(), BusError> {
        let amount = bus.send_async(Convert(command.0)).await?;
        let paid = Paid(amount);
        bus.publish_async(&paid).await
    }
}
impl<B> AsyncEventHandler<Paid, B> for Bank {
    async fn handle(&self, event: &Paid, _bus: &B) -> Result<(), BusError> {
        tokio::task::yield_now().await;
        assert_eq!(event.0, 14);
        Ok(())
    }
}
struct Rates;
impl<B> QueryHandler<GetRate, B> for Rates {
    fn handle(&self, _: GetRate, _bus: &B) -> u32 {
        2
    }
}

type AppBus = BusOf<
    HList![
        OnQueryAsync<Convert, Bank>,
        OnCommandAsync<Pay, Bank>,
        OnEventAsync<Paid, Bank>,
        OnQuery<GetRate, Rates>,
    ],
>;
fn app() -> AppBus {
    BusBuilder::new()
        .register_query_async::<Convert, _>(Bank)
        .register_command_async::<Pay, _>(Bank)
        .subscribe_async::<Paid, _>(Bank)
        .register_query::<GetRate, _>(Rates)
        .build()
}

#[tokio::test]
async fn a_future_of_a_static_bus_can_be_spawned() {
    static BUS: LazyLock<AppBus> = LazyLock::new(app);
    let answer = tokio::spawn(BUS.send_async(Convert(7)));
    let done = tokio::spawn(BUS.execute_async(Pay(7)));
    let heard = tokio::spawn(BUS.publish_async(&Paid(14)));
    assert_eq!(answer.await.unwrap().unwrap(), 14);
    done.await.unwrap().unwrap();
    heard.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_task_can_share_the_bus() {
    let bus = Arc::new(app());
    let tasks = [1, 2, 3].map(|amount| {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move {
            bus.execute_async(Pay(7)).await?;
            bus.publish_async(&Paid(14)).await?;
            bus.send_async(Convert(amount)).await
        })
    });
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap().unwrap());
    }
    assert_eq!(answers, [2, 4, 6]);
}

/// Code that is generic over the bus can spawn: the futures of the traits are `Send`.
fn pay_in_the_background<B>(bus: Arc<B>) -> tokio::task::JoinHandle<Result<u32, BusError>>
where
    B: AsyncSendQuery<Convert> + AsyncExecuteCommand<Pay> + AsyncPublishEvent<Paid>,
    B: Send + 'static,
{
    tokio::spawn(async move {
        bus.execute_async(Pay(7)).await?;
        bus.publish_async(&Paid(14)).await?;
        bus.send_async(Convert(7)).await
    })
}

#[tokio::test]
async fn generic_code_can_spawn() {
    let answer = pay_in_the_background(Arc::new(app())).await.unwrap();
    assert_eq!(answer.unwrap(), 14);
}

/// Calls in a closure, all made before the first is awaited.
#[tokio::test]
async fn a_spawned_task_can_make_calls_from_an_iterator() {
    let bus = Arc::new(app());
    let task = tokio::spawn(async move {
        let amounts = [1, 2, 3];
        let mut sum = 0;
        for call in amounts.iter().map(|n| bus.send_async(Convert(*n))) {
            sum += call.await?;
        }
        let calls: Vec<_> = amounts
            .iter()
            .map(|n| Box::pin(bus.send_async(Convert(*n))))
            .collect();
        for call in calls {
            sum += call.await?;
        }
        Ok::<_, BusError>(sum)
    });
    assert_eq!(task.await.unwrap().unwrap(), 24);
}

/// A handler that spawns owns a bus, or a part of one; the bus of its call is only borrowed.
#[tokio::test]
async fn a_handler_with_a_closure_can_be_spawned_too() {
    let bus = Arc::new(
        BusBuilder::new()
            .register_query_async_fn(|query: Convert| async move {
                tokio::task::yield_now().await;
                Ok(query.0 * 2)
            })
            .subscribe_async_fn(|event: &Paid| {
                let amount = event.0;
                async move {
                    tokio::task::yield_now().await;
                    match amount {
                        14 => Ok(()),
                        _ => Err(BusError::refused::<Paid>("too little")),
                    }
                }
            })
            .build(),
    );
    let shared = Arc::clone(&bus);
    let task = tokio::spawn(async move { shared.send_async(Convert(7)).await });
    assert_eq!(task.await.unwrap().unwrap(), 14);
    let task = tokio::spawn(async move { bus.publish_async(&Paid(1)).await });
    assert!(!task.await.unwrap().unwrap_err().is_retryable());
}

/// A handler that sends nothing needs no bound on the bus, and may hold it across an `.await`.
#[tokio::test]
async fn a_handler_without_a_bound_on_the_bus_can_be_spawned() {
    async fn hold<T>(it: T) -> T {
        tokio::task::yield_now().await;
        it
    }

    struct Idle;
    impl<B> AsyncQueryHandler<GetRate, B> for Idle {
        async fn handle(&self, _: GetRate, bus: &B) -> Result<u32, BusError> {
            hold(bus).await;
            Ok(3)
        }
    }
    impl<B> AsyncCommandHandler<Pay, B> for Idle {
        async fn handle(&self, _: Pay, bus: &B) -> Result<(), BusError> {
            hold(bus).await;
            Ok(())
        }
    }
    impl<B> AsyncEventHandler<Paid, B> for Idle {
        async fn handle(&self, event: &Paid, bus: &B) -> Result<(), BusError> {
            hold((event, bus)).await;
            Ok(())
        }
    }

    static BUS: LazyLock<
        BusOf<
            HList![
                OnQueryAsync<GetRate, Box<Idle>>,
                OnCommandAsync<Pay, Arc<Idle>>,
                OnEventAsync<Paid, &'static Idle>,
            ],
        >,
    > = LazyLock::new(|| {
        BusBuilder::new()
            .register_query_async::<GetRate, _>(Box::new(Idle))
            .register_command_async::<Pay, _>(Arc::new(Idle))
            .subscribe_async::<Paid, _>(&Idle)
            .build()
    });
    let answer = tokio::spawn(BUS.send_async(GetRate));
    let done = tokio::spawn(BUS.execute_async(Pay(7)));
    let heard = tokio::spawn(BUS.publish_async(&Paid(14)));
    assert_eq!(answer.await.unwrap().unwrap(), 3);
    done.await.unwrap().unwrap();
    heard.await.unwrap().unwrap();
}
