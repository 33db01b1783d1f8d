//! Notifications: a mail for every order.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};

use crate::{journal::note, orders::OrderPlaced, users::GetUser};

/// The mail about this order, if it was sent.
#[derive(Serialize, Deserialize)]
pub struct GetMail {
    pub order_id: u64,
}
query!(GetMail -> Option<String>, name = "notifications.mail");

module! {
    #[derive(Clone, Default)]
    pub struct Module {
        notifications: Arc<Notifications> => [query GetMail, async event OrderPlaced],
    }
}

#[derive(Default)]
pub struct Notifications {
    /// The mails by order: an order that is delivered twice is mailed once.
    sent: Mutex<HashMap<u64, String>>,
}

impl<B> QueryHandler<GetMail, B> for Notifications {
    fn handle(&self, query: GetMail, _bus: &B) -> Option<String> {
        self.sent.lock().unwrap().get(&query.order_id).cloned()
    }
}

impl<B> AsyncEventHandler<OrderPlaced, B> for Notifications
where
    B: AsyncSendQuery<GetUser>,
{
    async fn handle(&self, event: &OrderPlaced, bus: &B) -> Result<(), BusError> {
        let user_id = event.user_id;
        let Some(user) = bus.send_async(GetUser { user_id }).await? else {
            return Ok(());
        };
        let (quantity, item) = (event.quantity, &event.item);
        let mail = format!("To {}: {}, {quantity} × {item}", user.email, user.name);
        let before = self.sent.lock().unwrap().insert(event.order_id, mail);
        if before.is_none() {
            note("notifications", format_args!("a mail to {}", user.email));
        }
        Ok(())
    }
}
