use static_bus::{asynchronous::BusError, prelude::*};

struct OrderCreated;
event!(OrderCreated);

struct Mailer;
impl<B> AsyncEventHandler<OrderCreated, B> for Mailer {
    async fn handle(&self, _: &OrderCreated, _bus: &B) -> Result<(), BusError> {
        Ok(())
    }
}

fn main() {
    let bus = BusBuilder::new()
        .subscribe_async::<OrderCreated, _>(Mailer)
        .subscribe_fn(|_: &OrderCreated| ())
        .build();
    bus.publish(&OrderCreated);
}
