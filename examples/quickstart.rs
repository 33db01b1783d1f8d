//! The README's quick start, to run: `cargo run --example quickstart`.

use static_bus::prelude::*;

// Messages are plain structs, each with one line that declares its kind.
struct GetUser {
    user_id: u32,
}
query!(GetUser -> Option<String>);

struct CreateOrder {
    user_id: u32,
}
command!(CreateOrder -> Result<(), OrderError>);

struct OrderCreated {
    order_id: u64,
}
event!(OrderCreated);

#[derive(Debug, PartialEq)]
enum OrderError {
    UnknownUser,
}

// A service has a bound for each message that it sends, and no other access to the bus.
struct OrderService;
impl<B> CommandHandler<CreateOrder, B> for OrderService
where
    B: SendQuery<GetUser> + PublishEvent<OrderCreated>,
{
    fn handle(&self, command: CreateOrder, bus: &B) -> Result<(), OrderError> {
        let user_id = command.user_id;
        bus.send(GetUser { user_id })
            .ok_or(OrderError::UnknownUser)?;
        bus.publish(&OrderCreated { order_id: 1 });
        Ok(())
    }
}

struct Notifications;
impl<B> EventHandler<OrderCreated, B> for Notifications {
    fn handle(&self, event: &OrderCreated, _bus: &B) {
        println!("mail: order {} is on its way", event.order_id);
    }
}

// A module is a struct of handlers, with their messages.
mod billing {
    use super::OrderCreated;
    use static_bus::prelude::*;

    #[derive(Default)]
    pub struct Billing;
    impl<B> EventHandler<OrderCreated, B> for Billing {
        fn handle(&self, event: &OrderCreated, _bus: &B) {
            println!("invoice for order {}", event.order_id);
        }
    }

    module! {
        #[derive(Default)]
        pub(super) struct Module {
            billing: Billing => [event OrderCreated],
        }
    }
}

fn main() {
    let bus = BusBuilder::new()
        .register_query_fn(|query: GetUser| (query.user_id == 7).then(|| "Ada".to_owned()))
        .register_command(OrderService)
        .subscribe_fn(|event: &OrderCreated| println!("order {}", event.order_id))
        .subscribe(Notifications)
        .mount(billing::Module::default())
        .build(); // every handler's needs are checked here

    let user = bus.send::<GetUser>(GetUser { user_id: 7 });
    assert_eq!(user.as_deref(), Some("Ada"));
    assert_eq!(bus.execute(CreateOrder { user_id: 7 }), Ok(()));
    let refused = bus.execute(CreateOrder { user_id: 8 });
    assert_eq!(refused, Err(OrderError::UnknownUser));
}
