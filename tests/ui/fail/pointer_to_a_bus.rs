use static_bus::prelude::*;
use std::rc::Rc;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);

fn greet(_bus: &impl SendQuery<GetUser>) {}
fn order(_bus: &impl ExecuteCommand<CreateOrder>) {}
fn announce(_bus: &impl PublishEvent<OrderCreated>) {}
fn announce_later(_bus: &impl PostMessage<OrderCreated>) {}

fn main() {
    let bus = Rc::new(BusBuilder::new().register_query_fn(|_: GetUser| 7).build());
    greet(&bus);
    order(&bus);
    announce(&bus);
    announce_later(&bus);
}
