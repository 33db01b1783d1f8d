use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct Users;
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        7
    }
}

fn main() {
    BusBuilder::new().mount(hlist![on_query::<GetUser, _>(Users), on_query::<GetUser, _>(Users)]);
}
