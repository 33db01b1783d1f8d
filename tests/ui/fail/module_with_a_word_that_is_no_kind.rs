use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);

struct Users;
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        7
    }
}

module! {
    struct Module {
        users: Users => [querry GetUser],
    }
}
module! {
    struct Other {
        users: Users => [GetUser],
    }
}

fn main() {}
