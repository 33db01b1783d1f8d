use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32, name = "users");
struct UserJoined;
event!(UserJoined, name = "users");
struct UserLeft;
event!(UserLeft, name = "users");

// What two versions of a crate `shop` are: types of equal paths.
mod shop_1 {
    pub struct Pay;
    static_bus::command!(Pay, name = "shop::Pay");
    pub struct Paid;
    static_bus::event!(Paid, name = "shop::Paid");
}
mod shop_2 {
    pub struct Pay;
    static_bus::command!(Pay, name = "shop::Pay");
    pub struct Paid;
    static_bus::event!(Paid, name = "shop::Paid");
}

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

    BusBuilder::new()
        .register_command_fn(|_: shop_1::Pay| ())
        .register_command_fn(|_: shop_2::Pay| ());
    let bus = BusBuilder::new()
        .register_command_fn(|_: shop_1::Pay| ())
        .subscribe_fn(|_: &shop_1::Paid| ())
        .build();
    bus.execute(shop_2::Pay);
    bus.publish(&shop_2::Paid);
}
