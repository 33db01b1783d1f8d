use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct GetPrice;
query!(GetPrice -> u32);

fn main() {
    BusBuilder::new().register_query_fn(|_: GetUser| "one");
    BusBuilder::new().register_query_fn::<GetUser, _>(|_: GetPrice| 1);
}
