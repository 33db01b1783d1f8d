use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);

fn main() {
    let bus = BusBuilder::new().register_query_fn(|_: GetUser| 7).build();
    bus.send::<GetUser>(GetUser);
    bus.send::<GetUser, u32>(GetUser);
}
