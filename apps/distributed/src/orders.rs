//! Orders: queries the user and the stock, then publishes an event.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};

use crate::{inventory::GetStock, journal::note, users::GetUser};

/// The command to place an order. Orders of one user are handled one after the other.
#[derive(Serialize, Deserialize)]
pub struct PlaceOrder {
    /// Chosen by the sender, so an order that is delivered twice is placed once.
    pub order_id: u64,
    pub user_id: u32,
    pub item: String,
    pub quantity: u32,
}
command!(PlaceOrder -> Result<(), OrderError>, name = "orders.place", key = user_id);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderError {
    UnknownUser,
    OutOfStock,
}

/// An order was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    pub order_id: u64,
    pub user_id: u32,
    pub item: String,
    pub quantity: u32,
}
event!(OrderPlaced, name = "orders.placed", key = item);

/// The outcome of an order; `None` before it is handled.
#[derive(Serialize, Deserialize)]
pub struct GetOutcome {
    pub order_id: u64,
}
query!(GetOutcome -> Option<Result<(), OrderError>>, name = "orders.outcome");

module! {
    #[derive(Clone, Default)]
    pub struct Module {
        orders: Arc<Orders> => [async command PlaceOrder, query GetOutcome],
    }
}

#[derive(Default)]
pub struct Orders {
    orders: Mutex<HashMap<u64, Progress>>,
}

#[derive(Clone, Copy)]
enum Progress {
    /// The checks are done, and must not be repeated: if the event was published, it has changed the stock.
    Accepted,
    Ended(Result<(), OrderError>),
}

impl<B> AsyncCommandHandler<PlaceOrder, B> for Orders
where
    B: AsyncSendQuery<GetUser> + AsyncSendQuery<GetStock> + AsyncPublishEvent<OrderPlaced>,
{
    async fn handle(&self, order: PlaceOrder, bus: &B) -> Result<(), BusError> {
        let PlaceOrder {
            order_id,
            user_id,
            item,
            quantity,
        } = order;
        match self.progress(order_id) {
            Some(Progress::Ended(Ok(()))) => return Ok(()),
            Some(Progress::Accepted) => {}
            Some(Progress::Ended(Err(_))) | None => {
                let user = bus.send_async(GetUser { user_id }).await?;
                if user.is_none() {
                    return self.refuse(order_id, OrderError::UnknownUser);
                }
                let stock = GetStock { item: item.clone() };
                if bus.send_async(stock).await? < quantity {
                    return self.refuse(order_id, OrderError::OutOfStock);
                }
                note("orders", format_args!("{quantity} × {item}: placed"));
                self.set(order_id, Progress::Accepted);
            }
        }
        let placed = OrderPlaced {
            order_id,
            user_id,
            item,
            quantity,
        };
        bus.publish_async(&placed).await?;
        self.set(order_id, Progress::Ended(Ok(())));
        Ok(())
    }
}

impl<B> QueryHandler<GetOutcome, B> for Orders {
    fn handle(&self, query: GetOutcome, _bus: &B) -> Option<Result<(), OrderError>> {
        match self.progress(query.order_id)? {
            Progress::Accepted => None,
            Progress::Ended(outcome) => Some(outcome),
        }
    }
}

impl Orders {
    fn progress(&self, order_id: u64) -> Option<Progress> {
        self.orders.lock().unwrap().get(&order_id).copied()
    }

    fn set(&self, order_id: u64, progress: Progress) {
        self.orders.lock().unwrap().insert(order_id, progress);
    }

    /// A caller in this process gets the error; on a broker the command becomes a dead letter.
    fn refuse(&self, order_id: u64, why: OrderError) -> Result<(), BusError> {
        note("orders", format_args!("refused: {why}"));
        self.set(order_id, Progress::Ended(Err(why)));
        Err(BusError::refused::<PlaceOrder>(why))
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OrderError::UnknownUser => "unknown user",
            OrderError::OutOfStock => "out of stock",
        })
    }
}
impl Error for OrderError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::User;

    /// The module under test is real; all other modules are closures.
    #[tokio::test]
    async fn an_order_is_announced_once_and_only_when_the_user_is_known_and_the_item_is_there() {
        let announced = Mutex::new(Vec::new());
        let bus = BusBuilder::new()
            .register_query_fn(|query: GetUser| (query.user_id == 7).then(ada))
            .register_query_fn(|query: GetStock| if query.item == "lamp" { 3 } else { 0 })
            .subscribe_fn(|event: &OrderPlaced| announced.lock().unwrap().push(event.order_id))
            .mount(Module::default())
            .build();
        let place = async |order_id, user_id, item: &str, quantity| {
            let item = item.to_owned();
            let order = PlaceOrder {
                order_id,
                user_id,
                item,
                quantity,
            };
            let placed = bus.execute_async(order).await;
            placed.map_err(|error| error.to_string())
        };
        let refused = |why: &str| Err(format!("orders.place: its handler failed: {why}"));

        assert_eq!(place(1, 8, "lamp", 1).await, refused("unknown user"));
        assert_eq!(place(2, 7, "lamp", 4).await, refused("out of stock"));
        assert_eq!(place(3, 7, "sofa", 1).await, refused("out of stock"));
        assert!(announced.lock().unwrap().is_empty());

        assert_eq!(place(4, 7, "lamp", 3).await, Ok(()));
        assert_eq!(place(4, 7, "lamp", 3).await, Ok(()), "delivered twice");
        assert_eq!(*announced.lock().unwrap(), [4]);
    }

    /// A failed query is not a refusal: the order can be retried.
    #[tokio::test]
    async fn an_order_is_tried_again_when_nobody_answers() {
        let timeout = || BusError::Timeout {
            message: GetUser::NAME,
            after: std::time::Duration::from_secs(5),
        };
        let bus = BusBuilder::new()
            .register_query_async_fn(|_: GetUser| async move { Err(timeout()) })
            .register_query_fn(|_: GetStock| 3)
            .mount(Module::default())
            .build();
        let order = PlaceOrder {
            order_id: 1,
            user_id: 7,
            item: "lamp".to_owned(),
            quantity: 1,
        };

        let error = bus.execute_async(order).await.unwrap_err();
        assert!(error.is_retryable());
        assert_eq!(error.to_string(), "users.get: no answer within 5s");
        assert_eq!(bus.send::<GetOutcome>(GetOutcome { order_id: 1 }), None);
    }

    /// The stock is checked once: the event, or a part of its effects, may have changed it.
    #[tokio::test]
    async fn an_order_that_was_accepted_is_announced_again_and_not_checked_again() {
        let stock = Mutex::new(3);
        let bus = BusBuilder::new()
            .register_query_fn(|_: GetUser| Some(ada()))
            .register_query_fn(|_: GetStock| *stock.lock().unwrap())
            .subscribe_async_fn(|event: &OrderPlaced| {
                let left = stock.lock().unwrap().checked_sub(event.quantity);
                *stock.lock().unwrap() = left.unwrap_or(0);
                async move {
                    match left {
                        Some(_) => Err(BusError::rejected::<OrderPlaced>("the answer is lost")),
                        None => Ok(()),
                    }
                }
            })
            .mount(Module::default())
            .build();
        let place = || PlaceOrder {
            order_id: 1,
            user_id: 7,
            item: "lamp".to_owned(),
            quantity: 2,
        };
        let error = bus.execute_async(place()).await.unwrap_err();
        assert!(error.is_retryable());
        assert_eq!(bus.send::<GetOutcome>(GetOutcome { order_id: 1 }), None);
        assert_eq!(
            bus.execute_async(place()).await.map_err(|e| e.to_string()),
            Ok(())
        );
        assert_eq!(
            bus.send::<GetOutcome>(GetOutcome { order_id: 1 }),
            Some(Ok(()))
        );
    }

    fn ada() -> User {
        User {
            name: "Ada".to_owned(),
            email: "ada@example.com".to_owned(),
        }
    }
}
