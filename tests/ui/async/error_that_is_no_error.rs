use static_bus::{asynchronous::BusError, prelude::*};

struct OutOfStock;
struct CreateOrder;
command!(CreateOrder -> Result<(), OutOfStock>);
struct OrderCreated;
event!(OrderCreated -> Result<(), OutOfStock>);
struct PlaceOrder;
command!(PlaceOrder);
struct ShipOrder;
command!(ShipOrder);

struct OrderService;
impl<B: AsyncExecuteCommand<CreateOrder>> AsyncCommandHandler<PlaceOrder, B> for OrderService {
    async fn handle(&self, _: PlaceOrder, bus: &B) -> Result<(), BusError> {
        bus.execute_async(CreateOrder).await
    }
}
impl<B: AsyncPublishEvent<OrderCreated>> AsyncCommandHandler<ShipOrder, B> for OrderService {
    async fn handle(&self, _: ShipOrder, bus: &B) -> Result<(), BusError> {
        bus.publish_async(&OrderCreated).await
    }
}

fn main() {
    BusBuilder::new()
        .register_command_fn(|_: CreateOrder| Err(OutOfStock))
        .register_command_async::<PlaceOrder, _>(OrderService)
        .build();
    BusBuilder::new()
        .subscribe_fn(|_: &OrderCreated| Err(OutOfStock))
        .register_command_async::<ShipOrder, _>(OrderService)
        .build();
}
