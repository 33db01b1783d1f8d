use static_bus::{assert_needs, prelude::*};

fn main() {
    assert_needs!(hlist![]: QueryHandler<u8>);
}
