//! The command line: options, their limits, and errors of one line each.

use std::{
    io::{ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use trading::Settings;

use crate::{market::Market, sweep::Sweep, throughput::Throughput};

/// A moving-average cross on daily bars, run over a static bus.
#[derive(Parser)]
#[command(name = "backtest", args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub task: Option<Task>,
    #[command(flatten)]
    pub single: Single,
}

#[derive(Subcommand)]
pub enum Task {
    Throughput(Throughput),
    Sweep(Sweep),
}

/// One run, without a subcommand.
#[derive(Args)]
pub struct Single {
    #[command(flatten)]
    pub market: Market,
    /// Closes in the fast moving average
    #[arg(long, value_name = "N", default_value_t = Settings::DEFAULT.fast)]
    fast: usize,
    /// Closes in the slow moving average
    #[arg(long, value_name = "N", default_value_t = Settings::DEFAULT.slow)]
    slow: usize,
    /// Print one JSON object instead of the report
    #[arg(long)]
    pub json: bool,
    /// Draw price and trades, equity and drawdown, as FILE.svg or FILE.png
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Write the closed trades as CSV
    #[arg(long, value_name = "FILE")]
    pub trades: Option<PathBuf>,
}

impl Single {
    /// The options as settings, after a check of their limits.
    pub fn settings(&self) -> Result<Settings, String> {
        let Self { fast, slow, .. } = *self;
        if fast == 0 {
            return Err("--fast 0 averages nothing; give at least 1".into());
        }
        if fast >= slow {
            return Err(format!(
                "--fast {fast} is not below --slow {slow}; give a smaller --fast or a larger --slow"
            ));
        }
        self.market.settings(fast, slow)
    }
}

/// The given options, or the first line of clap's error.
///
/// `--help` prints the help and ends the program.
pub fn parse() -> Result<Cli, String> {
    Cli::try_parse().map_err(|refusal| {
        if !refusal.use_stderr() {
            refusal.exit();
        }
        let text = refusal.to_string();
        let reason = text.lines().next().unwrap_or_default();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        format!("{reason}; see --help for the options")
    })
}

/// Writes the report to stdout. A closed pipe (`| head`) is no failure.
pub fn print(report: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{report}") {
        Err(failure) if failure.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: stdout: {failure}; send the report to a writable file or pipe");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
