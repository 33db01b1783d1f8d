//! How fast is the bus? The same strategy on the same ticks, three times: as a handwritten loop, on
//! a static bus, and on a `dyn` bus. All have to end in the same state.
//!
//! Orders and fills travel in two ways: handled where they are sent, which is an acyclic graph of
//! services, and through the mailbox, with which services may also answer each other in cycles.

mod contest;
mod dyn_bus;
mod handwritten;
mod measure;
mod messages;
mod model;
mod report;
mod static_bus;
mod ticks;

use clap::Args;

/// Measures the bus on synthetic ticks, against a handwritten loop and a `dyn` bus
#[derive(Args)]
pub struct Throughput {
    /// Ticks in each variant's run
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    ticks: u64,
    /// Where the random ticks start from
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Print one JSON object instead of the report
    #[arg(long)]
    json: bool,
}

impl Throughput {
    pub fn run(self) -> Result<String, String> {
        if self.ticks == 0 {
            return Err("--ticks 0 measures nothing; give at least 1".into());
        }
        let result = contest::run(self.ticks, self.seed)?;
        Ok(if self.json {
            report::json(&result)
        } else {
            report::text(&result)
        })
    }
}
