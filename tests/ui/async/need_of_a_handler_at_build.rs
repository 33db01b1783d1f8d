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

fn main() {
    BusBuilder::new().register_command_async::<CreateOrder, _>(OrderService).build();
}
