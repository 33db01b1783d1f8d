//! Notifications: a mail for every order.

use std::{cell::RefCell, rc::Rc};

use static_bus::prelude::*;

use crate::{orders::OrderPlaced, users::GetUser};

/// Every mail sent so far, oldest first.
pub struct GetSent;
query!(GetSent -> Vec<String>);

module! {
    #[derive(Default)]
    pub struct Module {
        notifications: Rc<Notifications> => [query GetSent, event OrderPlaced],
    }
}

#[derive(Default)]
pub struct Notifications {
    sent: RefCell<Vec<String>>,
}

impl<B> QueryHandler<GetSent, B> for Notifications {
    fn handle(&self, _: GetSent, _bus: &B) -> Vec<String> {
        self.sent.borrow().clone()
    }
}

impl<B> EventHandler<OrderPlaced, B> for Notifications
where
    B: SendQuery<GetUser>,
{
    fn handle(&self, event: &OrderPlaced, bus: &B) {
        let Some(user) = bus.send(GetUser {
            user_id: event.user_id,
        }) else {
            return;
        };
        self.sent.borrow_mut().push(format!(
            "To {}: {}, order {} is placed: {} × {}",
            user.email, user.name, event.order_id, event.quantity, event.item,
        ));
    }
}
