use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct GetPrice;
query!(GetPrice -> u32);

fn total(bus: &(impl SendQuery<GetUser> + SendQuery<GetPrice>)) -> u32 {
    bus.send(GetUser) + bus.send(GetPrice)
}

fn main() {
    let bus = BusBuilder::new().register_query_fn(|_: GetUser| 7).build();
    total(&bus);
}
