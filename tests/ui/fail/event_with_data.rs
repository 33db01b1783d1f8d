use static_bus::prelude::*;

struct Counted;
event!(Counted -> u32);

fn main() {}
