use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct Users;
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        7
    }
}

type AppBus = BusOf<HList![OnQuery<GetUser, Users>]>;
assert_wired!(AppBus: SendQuery<GetUser>, ExecuteCommand<CreateOrder>);

fn main() {}
