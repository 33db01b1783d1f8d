use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct OrderCreated;
event!(OrderCreated);

fn main() {
    let bus = BusBuilder::new().subscribe_fn(|_: &OrderCreated| ()).build();
    bus.send::<OrderCreated>(OrderCreated);
    bus.publish(&GetUser);
    bus.execute(GetUser);
}
