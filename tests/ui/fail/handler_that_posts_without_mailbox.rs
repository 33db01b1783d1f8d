use static_bus::prelude::*;

struct BarOpen;
event!(BarOpen);
struct Fill;
event!(Fill);
struct Exchange;
impl<B: PostMessage<Fill>> EventHandler<BarOpen, B> for Exchange {
    fn handle(&self, _: &BarOpen, bus: &B) {
        bus.post(Fill);
    }
}

fn main() {
    BusBuilder::new().subscribe::<BarOpen, _>(Exchange).build();
}
