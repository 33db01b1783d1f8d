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
struct Users;
impl<B: ExecuteCommand<CreateOrder>> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, bus: &B) -> u32 {
        bus.execute(CreateOrder);
        1
    }
}

fn main() {
    let bus = BusBuilder::new().register_command::<CreateOrder, _>(OrderService).register_query::<GetUser, _>(Users).build();
}
