use static_bus::prelude::*;

struct OrderCreated;
event!(OrderCreated);
struct OrderService;

fn main() {
    BusBuilder::new().subscribe::<OrderCreated, _>(OrderService).build();
}
