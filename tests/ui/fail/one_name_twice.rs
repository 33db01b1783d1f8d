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
struct A;
query!(A -> u8, name = "twin");
struct Twin;
event!(Twin, name = "twin");

fn main() {
    BusBuilder::new().register_query_fn(|_: A| 1).subscribe_fn(|_: &Twin| ());
}
