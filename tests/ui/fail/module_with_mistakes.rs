use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CountUsers;
query!(CountUsers -> u32);
struct UserJoined;
event!(UserJoined);

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

// Two messages of a handler that cannot be cloned.
module! {
    struct TwoMessages {
        users: Users => [query GetUser, query CountUsers],
    }
}
// A message that the handler does not handle.
module! {
    struct NotHandled {
        users: Users => [event UserJoined],
    }
}
// A message of another kind.
module! {
    struct AnotherKind {
        users: Users => [query UserJoined],
    }
}
// A handler without its messages.
module! {
    struct NoMessages {
        users: Users,
    }
}

fn main() {
    BusBuilder::new().mount(TwoMessages { users: Users }).build();
    BusBuilder::new().mount(NotHandled { users: Users }).build();
    BusBuilder::new().mount(AnotherKind { users: Users }).build();
    BusBuilder::new().mount(NoMessages { users: Users }).build();
}
