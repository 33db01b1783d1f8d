use static_bus::prelude::*;

struct Ping;
impl Message for Ping {
    const NAME: &str = "net.ping";
    type Key = u64;
}

fn main() {}
