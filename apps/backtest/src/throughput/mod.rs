//! The cost of the bus: one strategy on the same ticks as a handwritten loop and on a static bus. All
//! variants must end in the same state.
//!
//! The bus runs twice: with orders and fills handled where they are sent, in an acyclic graph of
//! services, and with orders and fills through the mailbox, which also allows cycles of services.

mod contest;
mod handwritten;
mod measure;
mod messages;
mod model;
mod report;
mod static_bus;
mod ticks;

use clap::Args;

/// Measures the bus on synthetic ticks, next to a handwritten loop
#[derive(Args)]
pub struct Throughput {
    /// Ticks in each variant's run
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    ticks: u64,
    /// Seed of the random ticks
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
