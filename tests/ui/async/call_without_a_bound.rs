use static_bus::asynchronous::BusError;
use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);

struct OrderService;
impl<B> AsyncCommandHandler<CreateOrder, B> for OrderService {
    async fn handle(&self, _: CreateOrder, bus: &B) -> Result<(), BusError> {
        bus.send_async(GetUser).await?;
        bus.execute_async(CreateOrder).await?;
        bus.publish_async(&OrderCreated).await
    }
}

fn main() {}
