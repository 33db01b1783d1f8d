use static_bus::layer::{AroundQuery, Layer};
use static_bus::{prelude::*, wiring::Registration};

struct Traced;
impl Layer for Traced {
    type Around = Traced;
    fn around(&self, _: Registration) -> Traced { Traced }
}
impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Traced {
    fn query(&self, query: Q, _: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response { next(query) }
}

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);

fn main() {
    BusBuilder::new()
        .register_query_fn(|_: GetUser| 7)
        .register_command_fn(|_: CreateOrder| ())
        .layer(Traced)
        .build();
    BusBuilder::new().subscribe_fn(|_: &OrderCreated| ()).layer(Traced).build();
    BusBuilder::new().register_query_fn(|_: GetUser| 7).layer(OnlyCommands).layer(Traced).build();
}

struct OnlyCommands;
impl Layer for OnlyCommands {
    type Around = OnlyCommands;
    fn around(&self, _: Registration) -> OnlyCommands { OnlyCommands }
}
