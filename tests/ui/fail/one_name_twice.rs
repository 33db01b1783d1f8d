use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32, name = "users");
struct UserJoined;
event!(UserJoined, name = "users");
struct UserLeft;
event!(UserLeft, name = "users");

fn main() {
    BusBuilder::new()
        .register_query_fn(|_: GetUser| 1)
        .subscribe_fn(|_: &UserJoined| ());
    BusBuilder::new()
        .subscribe_fn(|_: &UserJoined| ())
        .subscribe_fn(|_: &UserLeft| ());
    BusBuilder::new()
        .subscribe_fn(|_: &UserJoined| ())
        .register_query_fn(|_: GetUser| 1);
}
