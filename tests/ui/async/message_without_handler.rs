use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);

fn main() {
    let bus = BusBuilder::new().build();
    drop(bus.send_async(GetUser));
    drop(bus.execute_async(CreateOrder));
}
