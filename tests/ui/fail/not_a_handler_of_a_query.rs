use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct OrderService;

fn main() {
    BusBuilder::new().register_query::<GetUser, _>(OrderService).build();
}
