//! static-bus next to its peers: `cargo run --release` prints the table of jobs,
//! `cargo run --release -- pipeline` the tick pipeline.

mod allocations;
mod compare;
mod jobs;
mod measure;
mod peer;
mod peers;
mod pipeline;

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => compare::run(),
        Some("pipeline") => pipeline::run(),
        Some(other) => {
            eprintln!("unknown argument `{other}`: give none, or `pipeline`");
            std::process::exit(2);
        }
    }
}
