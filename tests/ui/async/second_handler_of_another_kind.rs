use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);

fn main() {
    BusBuilder::new()
        .register_query_fn(|_: GetUser| 1)
        .register_query_async_fn(|_: GetUser| async { Ok(2) });
    BusBuilder::new()
        .register_query_async_fn(|_: GetUser| async { Ok(1) })
        .register_query_async_fn(|_: GetUser| async { Ok(2) });
    BusBuilder::new()
        .register_command_async_fn(|_: CreateOrder| async { Ok(()) })
        .register_command_fn(|_: CreateOrder| ());
}
