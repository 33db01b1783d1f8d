use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);

fn main() {
    BusBuilder::new()
        .register_query_fn(|_: GetUser| 1)
        .register_query_fn(|_: GetUser| 2);
}
