use static_bus::prelude::*;

struct Count;
command!(Count -> u32);

fn main() {}
