use static_bus::prelude::*;

struct CreateOrder;
command!(CreateOrder -> Result<(), &'static str>);

fn main() {
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: CreateOrder| async { Ok(()) })
        .build();
    bus.execute(CreateOrder);
}
