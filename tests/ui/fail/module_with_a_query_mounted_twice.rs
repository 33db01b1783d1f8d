use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct Users;
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        7
    }
}

fn module() -> HList![OnQuery<GetUser, Users>] {
    hlist![on_query(Users)]
}

fn main() {
    BusBuilder::new().mount(module()).mount(module());
}
