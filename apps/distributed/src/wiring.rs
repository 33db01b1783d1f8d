//! The modules of each process. Only this file changes when a module moves.
//!
//! Without one of the `mount` or `register` calls it does not compile, because a module needs the messages. A
//! worker that serves a message without a handler on its bus does not compile either. The compiler cannot detect an event that
//! is not sent to the broker (`subscribe_async`), or a message that no worker serves.

use std::time::Duration;

use static_bus::{layer::Traced, prelude::*};

use static_bus_remote::{
    LayeredRemote, RemoteBus, Transport, TransportError, Worker, WorkerHandle,
};

use crate::{
    cli::Module,
    inventory::{self, GetStock},
    notifications::{self, GetMail},
    orders::{self, GetOutcome, OrderPlaced, PlaceOrder},
    users::{self, GetUser},
};

/// The timeout of a query. Longer than the start of a worker on a busy machine, which takes seconds on Kafka.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// The bounds of a customer on the bus, for handlers in any process.
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

/// The connection to the other modules. What is sent through it has a span, as the handlers have.
type Remote<T> = LayeredRemote<RemoteBus<T>, Traced>;

/// The monolith: one bus, and no broker.
pub fn monolith() -> impl Shop {
    BusBuilder::new()
        .mount(users::Module::default())
        .mount(inventory::Module::default())
        .mount(notifications::Module::default())
        .mount(orders::Module::default())
        .layer(Traced)
        .build()
}

/// The monolith with the module `users` in another process: one line differs.
pub fn without_users<T: Transport>(remote: Remote<T>) -> impl Shop {
    BusBuilder::new()
        .mount(inventory::Module::default())
        .mount(notifications::Module::default())
        .mount(orders::Module::default())
        .layer(Traced)
        .register_query_async::<GetUser, _>(remote)
        .build()
}

/// Serves one module on a bus of its own.
pub async fn serve<T: Transport>(
    module: Module,
    broker: T,
) -> Result<WorkerHandle<T>, TransportError> {
    match module {
        Module::Users => serve_users(broker, users::Module::default()).await,
        Module::Inventory => serve_inventory(broker, inventory::Module::default()).await,
        Module::Notifications => {
            serve_notifications(broker, notifications::Module::default()).await
        }
        Module::Orders => serve_orders(broker, orders::Module::default()).await,
    }
}

pub async fn serve_users<T: Transport>(
    broker: T,
    module: users::Module,
) -> Result<WorkerHandle<T>, TransportError> {
    let bus = BusBuilder::new().mount(module).layer(Traced).build();
    Worker::new(broker, bus)
        .service("users")
        .query::<GetUser>()
        .start()
        .await
}

pub async fn serve_inventory<T: Transport>(
    broker: T,
    module: inventory::Module,
) -> Result<WorkerHandle<T>, TransportError> {
    let bus = BusBuilder::new().mount(module).layer(Traced).build();
    Worker::new(broker, bus)
        .service("inventory")
        .query::<GetStock>()
        .event::<OrderPlaced>("inventory")
        .start()
        .await
}

pub async fn serve_notifications<T: Transport>(
    broker: T,
    module: notifications::Module,
) -> Result<WorkerHandle<T>, TransportError> {
    let remote = connect("notifications", broker.clone()).await?;
    let bus = BusBuilder::new()
        .mount(module)
        .layer(Traced)
        .register_query_async::<GetUser, _>(remote)
        .build();
    Worker::new(broker, bus)
        .service("notifications")
        .query::<GetMail>()
        .event::<OrderPlaced>("notifications")
        .start()
        .await
}

pub async fn serve_orders<T: Transport>(
    broker: T,
    module: orders::Module,
) -> Result<WorkerHandle<T>, TransportError> {
    let remote = connect("orders", broker.clone()).await?;
    let bus = BusBuilder::new()
        .mount(module)
        .layer(Traced)
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

/// The connection to the other modules, for a service of this name.
pub async fn connect<T: Transport>(service: &str, broker: T) -> Result<Remote<T>, TransportError> {
    let remote = RemoteBus::builder(broker)
        .service(service)
        .timeout(QUERY_TIMEOUT)
        .connect()
        .await?;
    Ok(remote.layer(Traced))
}
