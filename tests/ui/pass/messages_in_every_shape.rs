//! The macros work inside functions, in nested modules, on every shape and visibility of a type, and
//! where the names they use are shadowed.

use static_bus::prelude::{BusBuilder, command, event, query};

mod outer {
    pub mod inner {
        use static_bus::prelude::*;

        pub struct Public {
            pub number: u32,
        }
        query!(Public -> u32);

        pub(crate) struct Restricted(pub(crate) u32);
        query!(Restricted -> u32, name = "outer.restricted");

        pub struct Unit;
        command!(Unit);
    }
}

enum Choice {
    Left,
    Right,
}
query!(Choice -> bool, name = "choice",);

#[allow(dead_code)]
mod shadowed {
    #[allow(unused_macros)]
    macro_rules! concat {
        () => {};
    }
    pub struct Result;
    pub struct Option;
    pub mod core {}
    pub mod static_bus {}
    ::static_bus::event!(Result -> ::core::result::Result<(), u8>);
    ::static_bus::query!(Option -> ());
}

fn main() {
    use outer::inner::{Public, Restricted, Unit};

    struct InFunction;
    event!(InFunction);

    let bus = BusBuilder::new()
        .register_query_fn(|query: Public| query.number)
        .register_query_fn(|query: Restricted| query.0)
        .register_query_fn(|choice: Choice| matches!(choice, Choice::Left))
        .register_command_fn(|_: Unit| ())
        .subscribe_fn(|_: &InFunction| ())
        .subscribe_fn(|_: &shadowed::Result| Err(7))
        .build();
    assert_eq!(bus.send::<Public>(Public { number: 1 }), 1);
    assert_eq!(bus.send::<Restricted>(Restricted(2)), 2);
    assert!(bus.send::<Choice>(Choice::Left));
    assert!(!bus.send::<Choice>(Choice::Right));
    bus.execute(Unit);
    bus.publish(&InFunction);
    assert_eq!(bus.publish(&shadowed::Result).unwrap_err().failures()[0].error, 7);
    command!(InFunctionToo);
    struct InFunctionToo;
    BusBuilder::new().register_command_fn(|_: InFunctionToo| ()).build().execute(InFunctionToo);
}
