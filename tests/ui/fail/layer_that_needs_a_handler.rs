use static_bus::layer::{AroundCommand, Layer};
use static_bus::{prelude::*, wiring::Registration};

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);

struct Audited;
impl Layer for Audited {
    type Around = Audited;
    fn around(&self, _: Registration) -> Audited { Audited }
}
impl<C: Command, B: SendQuery<GetUser>> AroundCommand<C, B> for Audited {
    fn command(&self, command: C, bus: &B, next: impl Fn(C) -> C::Output) -> C::Output {
        println!("{} by {}", C::NAME, bus.send(GetUser));
        next(command)
    }
}

fn main() {
    BusBuilder::new().register_command_fn(|_: CreateOrder| ()).layer(Audited).build();
}
