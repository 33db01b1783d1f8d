use static_bus::prelude::*;
use std::rc::Rc;

struct GetUser;
query!(GetUser -> u32);

struct Users(Rc<u32>);
impl<B: Sync> AsyncQueryHandler<GetUser, B> for Users {
    async fn handle(&self, _: GetUser, _bus: &B) -> Result<u32, BusError> {
        Ok(*self.0)
    }
}

struct Names(Rc<u32>);
impl<B> QueryHandler<GetUser, B> for Names {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        *self.0
    }
}

fn main() {
    let bus = BusBuilder::new().register_query::<GetUser, _>(Names(Rc::new(7))).build();
    drop(bus.send_async(GetUser));
}
