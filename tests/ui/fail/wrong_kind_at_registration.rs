use static_bus::prelude::*;

struct OrderCreated;
event!(OrderCreated);
struct GetUser;
query!(GetUser -> u32);
struct Service;

fn main() {
    BusBuilder::new().register_query::<OrderCreated, _>(Service);
    BusBuilder::new().register_command::<GetUser, _>(Service);
    BusBuilder::new().subscribe::<GetUser, _>(Service);
}
