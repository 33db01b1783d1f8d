use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct Traced;

fn main() {
    let _ = BusBuilder::new().register_query_fn(|_: GetUser| 7).layer(Traced);
}
