use static_bus::prelude::*;

struct CreateOrder;
command!(CreateOrder);
struct OrderService;

fn main() {
    BusBuilder::new().register_command::<CreateOrder, _>(OrderService).build();
}
