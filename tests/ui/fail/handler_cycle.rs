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
struct Users;
impl<B: ExecuteCommand<CreateOrder>> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, bus: &B) -> u32 {
        bus.execute(CreateOrder);
        7
    }
}

fn main() {
    BusBuilder::new()
        .register_command::<CreateOrder, _>(OrderService)
        .register_query::<GetUser, _>(Users)
        .build();
}
