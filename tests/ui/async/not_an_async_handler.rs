use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);

struct OrderService;

fn main() {
    BusBuilder::new().register_query_async::<GetUser, _>(OrderService).build();
    BusBuilder::new().register_command_async::<CreateOrder, _>(OrderService).build();
    BusBuilder::new().subscribe_async::<OrderCreated, _>(OrderService).build();
    BusBuilder::new()
        .subscribe_async_fn(|_: &OrderCreated| async { Ok(()) })
        .subscribe::<OrderCreated, _>(OrderService)
        .build();
}
