use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct CartPaid;
event!(CartPaid);

struct Checkout;
impl<B: ExecuteCommand<CreateOrder>> EventHandler<CartPaid, B> for Checkout {
    fn handle(&self, _: &CartPaid, bus: &B) {
        bus.execute(CreateOrder);
    }
}
struct OrderService;
impl<B: SendQuery<GetUser>> CommandHandler<CreateOrder, B> for OrderService {
    fn handle(&self, _: CreateOrder, bus: &B) {
        bus.send(GetUser);
    }
}

fn main() {
    BusBuilder::new()
        .subscribe::<CartPaid, _>(Checkout)
        .register_command::<CreateOrder, _>(OrderService)
        .build();
}
