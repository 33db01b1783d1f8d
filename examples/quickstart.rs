//! The README's quick start, to run: `cargo run --example quickstart`.

use static_bus::prelude::*;

pub struct GetUser {
    pub user_id: u32,
}
query!(GetUser -> Option<String>);

pub struct CreateOrder {
    pub user_id: u32,
}
command!(CreateOrder -> Result<(), OrderError>);

pub struct OrderCreated {
    pub order_id: u64,
}
event!(OrderCreated);

#[derive(Debug)]
pub enum OrderError {
    UnknownUser,
}

pub struct OrderService;
impl<B> CommandHandler<CreateOrder, B> for OrderService
where
    B: SendQuery<GetUser> + PublishEvent<OrderCreated>,
{
    fn handle(&self, command: CreateOrder, bus: &B) -> Result<(), OrderError> {
        bus.send(GetUser {
            user_id: command.user_id,
        })
        .ok_or(OrderError::UnknownUser)?;
        bus.publish(&OrderCreated { order_id: 1 });
        Ok(())
    }
}

fn main() {
    let bus = BusBuilder::new()
        .register_query_fn(|q: GetUser| (q.user_id == 7).then(|| "Ada".to_owned()))
        .register_command::<CreateOrder, _>(OrderService)
        .subscribe_fn(|e: &OrderCreated| println!("order {} created", e.order_id))
        .build();
    println!("user 7: {:?}", bus.send::<GetUser>(GetUser { user_id: 7 }));
    println!(
        "order for user 7: {:?}",
        bus.execute(CreateOrder { user_id: 7 })
    );
    println!(
        "order for user 8: {:?}",
        bus.execute(CreateOrder { user_id: 8 })
    );
    print!("{}", bus.wiring());
}
