//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The strategy of the backtest in real time: a feed in a process of its own, the strategy and the
/// exchange on a thread each, all inputs in a log. Ctrl-C ends the run with its report.
///
/// The result (trades, figures, state hash) is printed to stdout; what it took, to stderr.
#[derive(Parser)]
#[command(name = "live", args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub task: Option<Task>,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Subcommand)]
pub enum Task {
    /// Repeats a run from its log
    Replay {
        /// The log
        log: PathBuf,
    },
    /// Runs, repeats the run from its log, and fails if the results differ
    Compare(Run),
    /// Streams the ticks to one client
    #[command(hide = true)]
    Feed {
        /// The port on this machine; 0 for a free one
        #[arg(long, value_name = "N", default_value_t = 0)]
        port: u16,
        #[command(flatten)]
        pace: Pace,
    },
}

#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    pub pace: Pace,
    /// Connect to a feed that was started with `live feed`, instead of starting one
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "speed_up")]
    pub feed: Option<String>,
    /// Keep a core busy for each of the two buses, which react sooner
    #[arg(long)]
    pub spin: bool,
    /// Where to write the log; an earlier one is replaced
    #[arg(long, value_name = "FILE", default_value = "run.log")]
    pub log: PathBuf,
}

#[derive(Args)]
pub struct Pace {
    /// Market time per real time; by default twenty years take eight seconds
    #[arg(long, value_name = "X", default_value_t = 80_000_000.0, value_parser = parse_speed_up)]
    pub speed_up: f64,
}

/// At least 1: real time. At most a number at which no tick waits.
fn parse_speed_up(text: &str) -> Result<f64, String> {
    let speed_up = text
        .parse()
        .ok()
        .filter(|speed_up| (1.0..=1e12).contains(speed_up));
    speed_up.ok_or_else(|| "give a number from 1 (real time) to 1e12".to_owned())
}
