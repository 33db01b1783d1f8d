use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);

fn main() {
    let bus = BusBuilder::new().build();
    bus.send::<GetUser>(GetUser);
}
