use static_bus::prelude::*;
use std::sync::Arc;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);

fn greet(_bus: &impl AsyncSendQuery<GetUser>) {}
fn order(_bus: &impl AsyncExecuteCommand<CreateOrder>) {}
fn announce(_bus: &impl AsyncPublishEvent<OrderCreated>) {}

fn main() {
    let bus = Arc::new(BusBuilder::new().register_query_fn(|_: GetUser| 7).build());
    greet(&bus);
    order(&bus);
    announce(&bus);
}
