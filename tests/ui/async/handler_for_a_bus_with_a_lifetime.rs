use static_bus::asynchronous::BusError;
use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);

struct Fixed<'a>(&'a u32);
struct Users;
impl<'a> AsyncQueryHandler<GetUser, Fixed<'a>> for Users {
    async fn handle(&self, _: GetUser, bus: &Fixed<'a>) -> Result<u32, BusError> {
        Ok(*bus.0)
    }
}

fn main() {}
