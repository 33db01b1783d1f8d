use static_bus::prelude::*;

struct Ping;
impl Message for Ping {
    const NAME: &str = "net.ping";
    type NameKey = u64;
}

fn main() {}
