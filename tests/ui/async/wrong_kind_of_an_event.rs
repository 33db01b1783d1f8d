use static_bus::prelude::*;

struct GetUser;
impl Message for GetUser {
    const NAME: &'static str = "user";
    type NameKey = name_key!("user");
}
impl Query for GetUser {
    type Response = u32;
}
impl Event for GetUser {
    type Output = ();
}

fn main() {
    let bus = BusBuilder::new().register_query_async_fn(|_: GetUser| async { Ok(7) }).build();
    drop(bus.publish_async(&GetUser));
}
