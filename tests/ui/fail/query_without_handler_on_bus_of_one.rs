use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct GetPrice;
query!(GetPrice -> u32);

fn main() {
    let bus = BusBuilder::new().register_query_fn(|_: GetPrice| 1).build();
    bus.send::<GetUser>(GetUser);
}
