use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct OrderCreated;
event!(OrderCreated);

struct Users;
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        7
    }
}
impl<B> EventHandler<OrderCreated, B> for Users {
    fn handle(&self, _: &OrderCreated, _bus: &B) {}
}

fn main() {
    BusBuilder::new()
        .register_query::<GetUser>(Users)
        .subscribe::<OrderCreated>(Users)
        .build();
    BusBuilder::new().mount(hlist![on_query::<GetUser>(Users)]).build();
}
