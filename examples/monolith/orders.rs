//! Orders: queries the user and the stock, then publishes an event.

use std::cell::Cell;

use static_bus::prelude::*;

use crate::{inventory::GetStock, users::GetUser};

pub struct PlaceOrder {
    pub user_id: u32,
    pub item: &'static str,
    pub quantity: u32,
}
command!(PlaceOrder -> Result<(), OrderError>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderError {
    UnknownUser,
    OutOfStock,
}

/// An order was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderPlaced {
    pub order_id: u64,
    pub user_id: u32,
    pub item: &'static str,
    pub quantity: u32,
}
event!(OrderPlaced);

module! {
    #[derive(Default)]
    pub struct Module {
        orders: Orders => [command PlaceOrder],
    }
}

#[derive(Default)]
pub struct Orders {
    placed: Cell<u64>,
}

impl<B> CommandHandler<PlaceOrder, B> for Orders
where
    B: SendQuery<GetUser> + SendQuery<GetStock> + PublishEvent<OrderPlaced>,
{
    fn handle(&self, command: PlaceOrder, bus: &B) -> Result<(), OrderError> {
        let PlaceOrder {
            user_id,
            item,
            quantity,
        } = command;
        bus.send(GetUser { user_id })
            .ok_or(OrderError::UnknownUser)?;
        if bus.send(GetStock { item }) < quantity {
            return Err(OrderError::OutOfStock);
        }
        let order_id = self.placed.get() + 1;
        self.placed.set(order_id);
        bus.publish(&OrderPlaced {
            order_id,
            user_id,
            item,
            quantity,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::users::User;

    const ADA: User = User {
        name: "Ada",
        email: "ada@example.com",
    };

    /// The module under test is real; all other modules are closures.
    #[test]
    fn an_order_is_announced_only_when_the_user_is_known_and_the_item_is_there() {
        let announced = RefCell::new(Vec::new());
        let bus = BusBuilder::new()
            .register_query_fn(|query: GetUser| (query.user_id == 7).then_some(ADA))
            .register_query_fn(|query: GetStock| if query.item == "lamp" { 3 } else { 0 })
            .subscribe_fn(|event: &OrderPlaced| announced.borrow_mut().push(*event))
            .mount(Module::default())
            .build();
        let order = |user_id, item, quantity| {
            bus.execute(PlaceOrder {
                user_id,
                item,
                quantity,
            })
        };

        assert_eq!(order(8, "lamp", 1), Err(OrderError::UnknownUser));
        assert_eq!(order(7, "lamp", 4), Err(OrderError::OutOfStock));
        assert_eq!(order(7, "sofa", 1), Err(OrderError::OutOfStock));
        assert!(announced.borrow().is_empty());

        assert_eq!(order(7, "lamp", 3), Ok(()));
        assert_eq!(order(7, "lamp", 1), Ok(()));
        let placed = |order_id, quantity| OrderPlaced {
            order_id,
            user_id: 7,
            item: "lamp",
            quantity,
        };
        assert_eq!(*announced.borrow(), [placed(1, 3), placed(2, 1)]);
    }
}
