//! The command `serve`.

use static_bus_remote::transport::Inspect;

use super::{args::Serve, failure::Failure, output::Output};

pub async fn run<T: Inspect>(_: T, _: &str, _: &Serve, _: Output) -> Result<(), Failure> {
    todo!()
}
