use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);

struct OrderService;
impl<B: SendQuery<GetUser>> CommandHandler<CreateOrder, B> for OrderService {
    fn handle(&self, _: CreateOrder, bus: &B) {
        bus.send(GetUser);
    }
}

fn main() {
    BusBuilder::new()
        .register_command::<CreateOrder, _>(OrderService)
        .register_query_async_fn(|_: GetUser| async { Ok(7) })
        .build();
}
