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
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, _: &B) -> u32 {
        1
    }
}

fn main() {
    BusBuilder::new().register_query::<GetUser, _>(Users).mount(hlist![on_query::<GetUser, _>(Users)]);
}
