//! A moving-average backtest on twenty years of S&P 500 bars, run over a static bus.
//!
//! `cargo run --release -p backtest -- --help` lists the options.
//! The modules are those of `trading`; `app.rs` wires them.

mod app;
mod cli;
mod market;
mod output;
mod picture;
mod plot;
mod report;
mod sweep;
mod tally;
mod throughput;
mod trades;

use std::process::ExitCode;

use cli::Task;
use output::Files;
use picture::Picture;
use trading::bars;

fn main() -> ExitCode {
    match cli::parse().and_then(run) {
        Ok(report) => cli::print(&report),
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

/// The finished report, or one line with the problem and the remedy.
fn run(cli: cli::Cli) -> Result<String, String> {
    match cli.task {
        None => run_once(&cli.single),
        Some(Task::Throughput(throughput)) => throughput.run(),
        Some(Task::Sweep(sweep)) => sweep.run(),
    }
}

fn run_once(options: &cli::Single) -> Result<String, String> {
    let settings = options.settings()?;
    let bars = bars::load(options.market.csv.as_deref())?;
    let mut files = Files::new(options.market.csv.as_deref());
    let picture = options
        .plot
        .as_ref()
        .map(|path| Picture::create(&mut files, "--plot", path));
    let picture = picture.transpose()?;
    let table = options
        .trades
        .as_ref()
        .map(|path| files.create("--trades", path));
    let table = table.transpose()?;

    let outcome = app::run(&bars, &settings).map_err(|stopped| stopped.to_string())?;
    let picture = picture.map(|picture| plot::write(picture, &bars, &outcome, &settings));
    let table = table.map(|table| trades::write(table, &outcome.performance.trades, &bars));
    output::replace(picture.transpose()?.into_iter().chain(table.transpose()?))?;
    Ok(if options.json {
        report::json(&outcome)
    } else {
        report::text(&outcome, &settings)
    })
}
