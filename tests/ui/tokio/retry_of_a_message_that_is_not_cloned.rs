use static_bus::{layer::Retry, prelude::*};

struct GetUser;
query!(GetUser -> u32);

fn main() {
    BusBuilder::new()
        .register_query_async_fn(|_: GetUser| async { Ok(7) })
        .layer(Retry::times(3))
        .build();
}
