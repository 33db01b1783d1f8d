use static_bus::asynchronous::BusError;
use static_bus::prelude::*;
use std::rc::Rc;

struct GetUser;
query!(GetUser -> u32);
struct GetAge;
query!(GetAge -> u32);

struct Users;
impl<B> AsyncQueryHandler<GetUser, B> for Users {
    async fn handle(&self, _: GetUser, _bus: &B) -> Result<u32, BusError> {
        Ok(7)
    }
}
struct Ages(Rc<u32>);
impl<B> QueryHandler<GetAge, B> for Ages {
    fn handle(&self, _: GetAge, _bus: &B) -> u32 {
        *self.0
    }
}

fn main() {
    let bus = BusBuilder::new()
        .register_query_async::<GetUser, _>(Users)
        .register_query::<GetAge, _>(Ages(Rc::new(36)))
        .build();
    let _answer = bus.send_async(GetUser);

    let bus = BusBuilder::new().register_query_async::<GetUser, _>(Rc::new(Users)).build();
    let _answer = bus.send_async(GetUser);
}
