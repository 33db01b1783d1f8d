use serde::{Deserialize, Serialize};
use static_bus::{log::{Options, Writer}, prelude::*};

#[derive(Serialize, Deserialize)]
struct Tick;
event!(Tick);

fn main() {
    let _: Result<Writer<Tick>, _> = Options::new().create("run");
}
