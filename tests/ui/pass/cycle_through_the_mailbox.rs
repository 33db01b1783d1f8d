//! The remedy for `fail/handler_cycle.rs`: one of the two posts.

use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
mailbox! { enum Cascade { command CreateOrder } }

struct OrderService;
impl<B: SendQuery<GetUser>> CommandHandler<CreateOrder, B> for OrderService {
    fn handle(&self, _: CreateOrder, bus: &B) {
        bus.send(GetUser);
    }
}
struct Users;
impl<B: PostMessage<CreateOrder>> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, bus: &B) -> u32 {
        bus.post(CreateOrder);
        7
    }
}

fn main() {
    let bus = BusBuilder::new()
        .register_command::<CreateOrder, _>(OrderService)
        .register_query::<GetUser, _>(Users)
        .mailbox::<Cascade>(1)
        .build();
    assert_eq!(bus.send::<GetUser>(GetUser), 7);
}
