#![allow(unused)]
use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);
struct OrderService;
impl<B: SendQuery<GetUser>> CommandHandler<CreateOrder, B> for OrderService {
    fn handle(&self, _: CreateOrder, bus: &B) {
        bus.send(GetUser);
    }
}
struct Starter;
impl<B: ExecuteCommand<CreateOrder>> EventHandler<OrderCreated, B> for Starter {
    fn handle(&self, _: &OrderCreated, bus: &B) {
        bus.execute(CreateOrder);
    }
}

fn main() {
    let bus = BusBuilder::new()
        .subscribe::<OrderCreated, _>(Starter)
        .register_command::<CreateOrder, _>(OrderService)
        .build();
}
