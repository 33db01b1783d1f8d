use static_bus::{live, prelude::*};

struct Tick;
event!(Tick);
struct PlaceOrder;
command!(PlaceOrder);
struct Cancel;
command!(Cancel);
mailbox! { enum ToExchange { command PlaceOrder, command Cancel } }

struct Strategy;
impl<B: ExecuteCommand<PlaceOrder> + ExecuteCommand<Cancel>> EventHandler<Tick, B> for Strategy {
    fn handle(&self, _: &Tick, bus: &B) {
        bus.execute(PlaceOrder);
    }
}

fn main() {
    let (orders, _receiver) = live::channel::<ToExchange>(8);
    BusBuilder::new()
        .subscribe::<Tick, _>(Strategy)
        .register_command::<PlaceOrder, _>(orders)
        .build();
}
