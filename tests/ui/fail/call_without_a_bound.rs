use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);

struct OrderService;
impl<B> CommandHandler<CreateOrder, B> for OrderService {
    fn handle(&self, _: CreateOrder, bus: &B) {
        bus.send(GetUser);
        bus.execute(CreateOrder);
        bus.publish(&OrderCreated);
        bus.post(OrderCreated);
    }
}

fn main() {}
