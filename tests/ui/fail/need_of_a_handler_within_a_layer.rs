use static_bus::layer::{AroundCommand, Layer};
use static_bus::{prelude::*, wiring::Registration};

struct Traced;
impl Layer for Traced {
    type Around = Traced;
    fn around(&self, _: Registration) -> Traced { Traced }
}
impl<C: Command, B: ?Sized> AroundCommand<C, B> for Traced {
    fn command(&self, command: C, _: &B, next: impl Fn(C) -> C::Output) -> C::Output { next(command) }
}

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
        .layer(Traced)
        .build();
}
