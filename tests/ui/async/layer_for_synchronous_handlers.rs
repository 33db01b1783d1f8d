use static_bus::asynchronous::BusError;
use static_bus::layer::{AroundCommand, AroundEvent, AroundQuery, Layer};
use static_bus::{prelude::*, wiring::Registration};

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);

struct Traced;
impl Layer for Traced {
    type Around = Traced;
    fn around(&self, _: Registration) -> Traced { Traced }
}
impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Traced {
    fn query(&self, query: Q, _: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response { next(query) }
}
impl<C: Command, B: ?Sized> AroundCommand<C, B> for Traced {
    fn command(&self, command: C, _: &B, next: impl Fn(C) -> C::Output) -> C::Output { next(command) }
}
impl<E: Event, B: ?Sized> AroundEvent<E, B> for Traced {
    fn event(&self, event: &E, _: &B, next: impl Fn(&E) -> E::Output) -> E::Output { next(event) }
}

struct Users;
impl<B> AsyncQueryHandler<GetUser, B> for Users {
    async fn handle(&self, _: GetUser, _: &B) -> Result<u32, BusError> { Ok(7) }
}
impl<B> AsyncCommandHandler<CreateOrder, B> for Users {
    async fn handle(&self, _: CreateOrder, _: &B) -> Result<(), BusError> { Ok(()) }
}
impl<B> AsyncEventHandler<OrderCreated, B> for Users {
    async fn handle(&self, _: &OrderCreated, _: &B) -> Result<(), BusError> { Ok(()) }
}

fn main() {
    BusBuilder::new().register_query_async::<GetUser, _>(Users).layer(Traced).build();
    BusBuilder::new().register_command_async::<CreateOrder, _>(Users).layer(Traced).build();
    BusBuilder::new().subscribe_async::<OrderCreated, _>(Users).layer(Traced).build();
}
