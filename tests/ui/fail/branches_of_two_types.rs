use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);

struct Users;
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        7
    }
}
struct Nobody;
impl<B> QueryHandler<GetUser, B> for Nobody {
    fn handle(&self, _: GetUser, _bus: &B) -> u32 {
        0
    }
}

fn main() {
    let online = std::env::args().count() > 1;
    let builder = BusBuilder::new();
    let builder = if online {
        builder.register_query::<GetUser, _>(Users)
    } else {
        builder.register_query::<GetUser, _>(Nobody)
    };
    let _bus = builder.build();

    let _bus = match online {
        true => BusBuilder::new().register_query::<GetUser, _>(Users).build(),
        false => BusBuilder::new().register_query::<GetUser, _>(Nobody).build(),
    };
}
