use static_bus::{asynchronous::BusError, prelude::*};

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);

struct OrderService;
impl<B: AsyncSendQuery<GetUser>> AsyncCommandHandler<CreateOrder, B> for OrderService {
    async fn handle(&self, _: CreateOrder, bus: &B) -> Result<(), BusError> {
        bus.send_async(GetUser).await?;
        Ok(())
    }
}
struct Users;
impl<B: AsyncExecuteCommand<CreateOrder>> AsyncQueryHandler<GetUser, B> for Users {
    async fn handle(&self, _: GetUser, bus: &B) -> Result<u32, BusError> {
        bus.execute_async(CreateOrder).await?;
        Ok(7)
    }
}

fn main() {
    BusBuilder::new()
        .register_command_async::<CreateOrder, _>(OrderService)
        .register_query_async::<GetUser, _>(Users)
        .build();
}
