//! A query that is sent with the bus of a transaction.

use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{RemoteBus, Transactional};

#[derive(serde::Serialize)]
struct GetUser {
    user_id: u64,
}
query!(GetUser -> String);

async fn name<T, X>(remote: RemoteBus<T>, transaction: &mut X) -> Result<String, BusError>
where
    T: Transactional<X>,
    X: Send,
{
    let bus = remote.within(transaction);
    greet(&bus).await?;
    bus.send_async(GetUser { user_id: 7 }).await
}

async fn greet(bus: &impl AsyncSendQuery<GetUser>) -> Result<String, BusError> {
    bus.send_async(GetUser { user_id: 7 }).await
}

fn main() {}
