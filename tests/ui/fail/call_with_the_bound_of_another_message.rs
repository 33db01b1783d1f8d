use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct GetPrice;
query!(GetPrice -> u32);
struct GetTax;
query!(GetTax -> u32);
struct CreateOrder;
command!(CreateOrder);

struct OrderService;
impl<B: SendQuery<GetPrice>> CommandHandler<CreateOrder, B> for OrderService {
    fn handle(&self, _: CreateOrder, bus: &B) {
        bus.send(GetUser);
    }
}

fn total<B: SendQuery<GetPrice> + SendQuery<GetTax>>(bus: &B) -> u32 {
    bus.send::<GetPrice>(GetPrice) + bus.send(GetUser)
}

fn main() {}
