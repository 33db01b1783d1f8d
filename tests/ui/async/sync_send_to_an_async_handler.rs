use static_bus::{asynchronous::BusError, prelude::*};

struct GetUser;
query!(GetUser -> u32);

struct Users;
impl<B> AsyncQueryHandler<GetUser, B> for Users {
    async fn handle(&self, _: GetUser, _bus: &B) -> Result<u32, BusError> {
        Ok(7)
    }
}

fn main() {
    let bus = BusBuilder::new().register_query_async::<GetUser, _>(Users).build();
    bus.send(GetUser);
}
