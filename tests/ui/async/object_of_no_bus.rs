use static_bus::asynchronous::{
    DynAsyncExecuteCommand, DynAsyncPublishEvent, DynAsyncSendQuery,
};
use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);

struct OrderService;

fn main() {
    let bus = BusBuilder::new().build();
    let _: &dyn DynAsyncSendQuery<GetUser> = &bus;
    let _: &dyn DynAsyncSendQuery<GetUser> = &OrderService;
    let _: &dyn DynAsyncExecuteCommand<CreateOrder> = &OrderService;
    let _: &dyn DynAsyncPublishEvent<OrderCreated> = &OrderService;
}
