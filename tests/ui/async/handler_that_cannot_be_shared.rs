use static_bus::{asynchronous::BusError, prelude::*};
use std::rc::Rc;

struct GetUser;
query!(GetUser -> u32);
struct GetName;
query!(GetName -> u32);

struct Users(Rc<u32>);
impl<B> AsyncQueryHandler<GetUser, B> for Users {
    async fn handle(&self, _: GetUser, _bus: &B) -> Result<u32, BusError> {
        Ok(*self.0)
    }
}

struct Counter(Rc<u32>);
impl<B> QueryHandler<GetUser, B> for Counter {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        *self.0
    }
}
struct Names;
impl<B: AsyncSendQuery<GetUser>> AsyncQueryHandler<GetName, B> for Names {
    async fn handle(&self, _: GetName, bus: &B) -> Result<u32, BusError> {
        bus.send_async(GetUser).await
    }
}

fn main() {
    BusBuilder::new()
        .register_query::<GetUser, _>(Counter(Rc::new(7)))
        .register_query_async::<GetName, _>(Names)
        .build();
}
