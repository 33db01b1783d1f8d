use static_bus::{assert_needs, asynchronous::BusError, prelude::*};

struct GetUser;
query!(GetUser -> u32);
struct CreateOrder;
command!(CreateOrder);
struct OrderCreated;
event!(OrderCreated);
struct PlaceOrder;
command!(PlaceOrder);

struct Sends;
impl<B: SendQuery<GetUser>> CommandHandler<PlaceOrder, B> for Sends {
    fn handle(&self, _: PlaceOrder, _: &B) {}
}
struct Executes;
impl<B: ExecuteCommand<CreateOrder>> CommandHandler<PlaceOrder, B> for Executes {
    fn handle(&self, _: PlaceOrder, _: &B) {}
}
struct Publishes;
impl<B: PublishEvent<OrderCreated>> CommandHandler<PlaceOrder, B> for Publishes {
    fn handle(&self, _: PlaceOrder, _: &B) {}
}
struct Posts;
impl<B: PostMessage<OrderCreated>> CommandHandler<PlaceOrder, B> for Posts {
    fn handle(&self, _: PlaceOrder, _: &B) {}
}
struct Waits;
impl<B: AsyncSendQuery<GetUser> + AsyncExecuteCommand<CreateOrder> + AsyncPublishEvent<OrderCreated>>
    AsyncCommandHandler<PlaceOrder, B> for Waits
{
    async fn handle(&self, _: PlaceOrder, _: &B) -> Result<(), BusError> { Ok(()) }
}

fn main() {
    assert_needs!(hlist![on_command::<PlaceOrder, _>(Sends)]: PublishEvent<OrderCreated>);
    assert_needs!(hlist![on_command::<PlaceOrder, _>(Executes)]: SendQuery<GetUser>);
    assert_needs!(hlist![on_command::<PlaceOrder, _>(Publishes)]: PostMessage<OrderCreated>);
    assert_needs!(hlist![on_command::<PlaceOrder, _>(Posts)]: PublishEvent<OrderCreated>);
    assert_needs!(hlist![on_command_async::<PlaceOrder, _>(Waits)]:);
}
