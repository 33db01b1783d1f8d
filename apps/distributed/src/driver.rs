//! A customer: places a few orders, and queries their outcomes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use static_bus::asynchronous::BusError;
use tokio::time::{sleep, timeout};

use crate::{
    Failure,
    inventory::GetStock,
    notifications::GetMail,
    orders::{GetOutcome, PlaceOrder},
    wiring::Shop,
};

/// The maximum time of an order. Much longer than a lease, because a worker may have been killed.
const PATIENCE: Duration = Duration::from_secs(300);

/// Places the orders, on any bus. The result of `execute_async` depends on the bus: one bus returns the handler's
/// result, a broker only confirms that it has the command. So a query asks for the outcome.
pub async fn drive(bus: &impl Shop) -> Result<(), Failure> {
    // Not 1, 2, 3: the services may have handled these numbers of an earlier driver.
    let first = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let orders = [(1, 2), (9, 1), (2, 2), (2, 1)];
    for (number, (user_id, quantity)) in (1..).zip(orders) {
        let order_id = first + number;
        println!("order {number}: {quantity} × lamp for user {user_id}");
        let left = bus.send_async(lamps()).await?;
        let order = PlaceOrder {
            order_id,
            user_id,
            item: "lamp".to_owned(),
            quantity,
        };
        match bus.execute_async(order).await {
            Ok(()) | Err(BusError::Rejected { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        match eventually(async || bus.send_async(GetOutcome { order_id }).await).await? {
            Err(why) => println!("order {number}: refused, {why}"),
            Ok(()) => {
                // The event may arrive later: the next order may still be checked against the old stock.
                let mail = eventually(async || bus.send_async(GetMail { order_id }).await).await?;
                let left = eventually(async || {
                    let now = bus.send_async(lamps()).await?;
                    Ok((now + quantity <= left).then_some(now))
                })
                .await?;
                println!("order {number}: placed, {left} × lamp left, mailed “{mail}”");
            }
        }
    }
    Ok(())
}

fn lamps() -> GetStock {
    GetStock {
        item: "lamp".to_owned(),
    }
}

/// Repeats the query until there is an answer.
async fn eventually<T>(
    mut ask: impl AsyncFnMut() -> Result<Option<T>, BusError>,
) -> Result<T, Failure> {
    let asking = async {
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, asking).await.map_err(
        |_| "an order has no outcome after a long time: check that every module is served",
    )?
}
