use static_bus::prelude::*;

struct CreateOrder;
command!(CreateOrder);
struct OrderService;
impl<B> CommandHandler<CreateOrder, B> for OrderService {
    fn handle(&self, _: CreateOrder, _bus: &B) {}
}

fn main() {
    BusBuilder::new()
        .mount(hlist![on_command::<CreateOrder, _>(OrderService)])
        .mount(hlist![on_command::<CreateOrder, _>(OrderService)]);
}
