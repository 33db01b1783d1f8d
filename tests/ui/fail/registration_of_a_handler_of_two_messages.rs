use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CountUsers;
query!(CountUsers -> u32);

struct Users;
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        7
    }
}
impl<B> QueryHandler<CountUsers, B> for Users {
    fn handle(&self, _: CountUsers, _bus: &B) -> u32 {
        1
    }
}

fn main() {
    BusBuilder::new().register_query(Users).build();
    BusBuilder::new().mount(hlist![on_query(Users)]).build();
    let _ = BusBuilder::new().build_as();
}
