use static_bus::layer::Timed;
use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);

async fn answer() {
    let bus = BusBuilder::new()
        .register_query_fn(|_: GetUser| 7)
        .layer(Timed::local())
        .build();
    let _ = bus.send_async(GetUser).await;
}

fn main() {
    let _ = answer();
}
