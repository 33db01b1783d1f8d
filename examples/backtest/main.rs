//! A moving-average backtest on twenty years of S&P 500 bars, run over a static bus.
//!
//! `cargo run --release --example backtest -- --help` lists the options.
//! The services know each other only by the messages of `messages.rs`; `app.rs` wires them.

mod app;
mod bars;
mod cli;
mod exchange;
mod indicators;
mod messages;
mod metrics;
mod portfolio;
mod report;
mod risk;
mod strategy;
mod tally;
mod timestamp;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse().and_then(run) {
        Ok(report) => cli::print(&report),
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

/// The finished report, or one line that says what is wrong and what to do about it.
fn run(cli: cli::Cli) -> Result<String, String> {
    let settings = cli.settings()?;
    let bars = bars::load(cli.csv.as_deref())?;
    let outcome = app::run(&bars, &settings).map_err(|stopped| stopped.to_string())?;
    Ok(if cli.json {
        report::json(&outcome)
    } else {
        report::text(&outcome, &settings)
    })
}
