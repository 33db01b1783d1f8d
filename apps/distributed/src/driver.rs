//! A customer: places a few orders, and looks what becomes of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use static_bus::prelude::*;
use tokio::time::{sleep, timeout};

use crate::{
    Failure,
    inventory::GetStock,
    notifications::GetMail,
    orders::{GetOutcome, PlaceOrder},
    wiring::Shop,
};

/// How long an order may take: longer than a lease, because a worker may have been killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same on every bus. What differs is what `execute_async` says: one bus gives the handler's
/// answer, and a broker only that it has the command. So the outcome is asked for.
pub async fn drive(bus: &impl Shop) -> Result<(), Failure> {
    // Not 1, 2, 3: those who serve may have placed these for another driver before.
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
                // The event is on its way: whoever orders next may still be shown what was left before.
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

/// Asks until there is an answer.
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
    timeout(PATIENCE, asking)
        .await
        .map_err(|_| "an order is on its way for too long: is every module served?")?
}
