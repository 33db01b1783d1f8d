use static_bus::prelude::*;

struct GetUser;
query!(GetUser -> u32);

macro_rules! answered {
    ($bus:ident: $($query:ident)*) => {
        $(
            struct $query;
            query!($query -> u32);
        )*
        let $bus = BusBuilder::new()$(.register_query_fn(|_: $query| 1))*.build();
    };
}

fn main() {
    answered!(bus: A B C D E F G H I J K L M N O P Q R S T);
    bus.send::<GetUser>(GetUser);
}
