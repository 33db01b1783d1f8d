//! Who is where. This file is all that changes when a module moves.
//!
//! Take a `mount` away, or a `register`, and it does not compile: somebody misses what he asks for. So does
//! a worker that serves what its bus does not handle. What no compiler sees is an event that is not sent
//! on (`subscribe_async`), or a message that no worker serves.

use static_bus::prelude::*;

use static_bus_remote::{RemoteBus, Transport, TransportError, Worker, WorkerHandle};

use crate::{
    cli::Module,
    inventory::{self, GetStock},
    notifications::{self, GetMail},
    orders::{self, GetOutcome, OrderPlaced, PlaceOrder},
    users::{self, GetUser},
};

/// What a customer needs of a bus, wherever its handlers are.
pub trait Shop:
    AsyncExecuteCommand<PlaceOrder>
    + AsyncSendQuery<GetOutcome>
    + AsyncSendQuery<GetStock>
    + AsyncSendQuery<GetMail>
{
}
impl<B> Shop for B where
    B: AsyncExecuteCommand<PlaceOrder>
        + AsyncSendQuery<GetOutcome>
        + AsyncSendQuery<GetStock>
        + AsyncSendQuery<GetMail>
{
}

/// The monolith: one bus, and no broker.
pub fn monolith() -> impl Shop {
    BusBuilder::new()
        .mount(users::module())
        .mount(inventory::module())
        .mount(notifications::module())
        .mount(orders::module())
        .build()
}

/// The monolith without its users, who are in another process: one line is another.
pub fn without_users<T: Transport>(remote: RemoteBus<T>) -> impl Shop {
    BusBuilder::new()
        .register_query_async::<GetUser, _>(remote)
        .mount(inventory::module())
        .mount(notifications::module())
        .mount(orders::module())
        .build()
}

/// Serves one module, from a bus of its own.
pub async fn serve<T: Transport>(
    module: Module,
    broker: T,
) -> Result<WorkerHandle<T>, TransportError> {
    match module {
        Module::Users => serve_users(broker).await,
        Module::Inventory => serve_inventory(broker).await,
        Module::Notifications => serve_notifications(broker).await,
        Module::Orders => serve_orders(broker).await,
    }
}

async fn serve_users<T: Transport>(broker: T) -> Result<WorkerHandle<T>, TransportError> {
    let bus = BusBuilder::new().mount(users::module()).build();
    Worker::new(broker, bus)
        .service("users")
        .query::<GetUser>()
        .start()
        .await
}

async fn serve_inventory<T: Transport>(broker: T) -> Result<WorkerHandle<T>, TransportError> {
    let bus = BusBuilder::new().mount(inventory::module()).build();
    Worker::new(broker, bus)
        .service("inventory")
        .query::<GetStock>()
        .event::<OrderPlaced>("inventory")
        .start()
        .await
}

async fn serve_notifications<T: Transport>(broker: T) -> Result<WorkerHandle<T>, TransportError> {
    let remote = connect("notifications", broker.clone()).await?;
    let bus = BusBuilder::new()
        .mount(notifications::module())
        .register_query_async::<GetUser, _>(remote)
        .build();
    Worker::new(broker, bus)
        .service("notifications")
        .query::<GetMail>()
        .event::<OrderPlaced>("notifications")
        .start()
        .await
}

async fn serve_orders<T: Transport>(broker: T) -> Result<WorkerHandle<T>, TransportError> {
    let remote = connect("orders", broker.clone()).await?;
    let bus = BusBuilder::new()
        .mount(orders::module())
        .register_query_async::<GetUser, _>(remote.clone())
        .register_query_async::<GetStock, _>(remote.clone())
        .subscribe_async::<OrderPlaced, _>(remote)
        .build();
    Worker::new(broker, bus)
        .service("orders")
        .command::<PlaceOrder>()
        .query::<GetOutcome>()
        .start()
        .await
}

/// The way to the others, for a service of this name.
pub async fn connect<T: Transport>(
    service: &str,
    broker: T,
) -> Result<RemoteBus<T>, TransportError> {
    RemoteBus::builder(broker).service(service).connect().await
}
