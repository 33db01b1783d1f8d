//! The strategy of the backtest in real time, on two threads, recorded and replayed.
//!
//! `cargo run --release -p live -- --help` lists the options. The modules are those of `trading` and of
//! `desk.rs`; `run.rs` and `replay.rs` wire them.

mod bars;
mod cli;
mod desk;
mod feed;
mod latency;
mod messages;
mod recording;
mod replay;
mod run;
mod view;
mod watchdog;

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use trading::one_line;

use cli::{Cli, Task};
use view::note;

fn main() -> ExitCode {
    execute(Cli::parse()).unwrap_or_else(|reason| {
        note(&format!("error: {reason}"));
        ExitCode::from(2)
    })
}

fn execute(cli: Cli) -> Result<ExitCode, String> {
    match cli.task {
        None => run(&cli.run).map(|_| ExitCode::SUCCESS),
        Some(Task::Feed { port, pace }) => {
            feed::serve(port, pace.speed_up).map(|()| ExitCode::SUCCESS)
        }
        Some(Task::Replay { log }) => {
            let (outcome, measured) = replay::replay(&log)?;
            print(&outcome.to_string())?;
            note(&format!("\n{measured}"));
            Ok(ExitCode::SUCCESS)
        }
        Some(Task::Compare(options)) => compare(&options),
    }
}

/// Prints the result, then what the run took. Returns the result.
fn run(options: &cli::Run) -> Result<String, String> {
    let run::Run {
        outcome,
        measured,
        failure,
    } = run::run(options)?;
    let result = outcome.to_string();
    print(&result)?;
    note(&format!("\n{measured}\n\nlog: {}", one_line(&options.log)));
    failure.map_or(Ok(result), Err)
}

fn compare(options: &cli::Run) -> Result<ExitCode, String> {
    let start = Instant::now();
    let live = run(options)?;
    let (lived, start) = (start.elapsed(), Instant::now());
    let replayed = replay::replay(&options.log)?.0.to_string();
    let took = start.elapsed();
    if live == replayed {
        note(&format!(
            "the replay is equal to the run: {lived:.2?} live, {took:.2?} replayed"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let difference = difference(&live, &replayed);
    note(&format!("the replay differs from the run:\n{difference}"));
    Ok(ExitCode::FAILURE)
}

/// The first line of each text that differs.
fn difference(live: &str, replayed: &str) -> String {
    let both = live.lines().zip(replayed.lines());
    let equal = both.take_while(|(live, replayed)| live == replayed).count();
    let line = |text: &str| text.lines().nth(equal).unwrap_or("(the end)").to_owned();
    format!("- {}\n+ {}", line(live), line(replayed))
}

/// Prints to stdout. A closed pipe (`| head`) is no failure.
fn print(text: &str) -> Result<(), String> {
    match writeln!(io::stdout(), "{text}") {
        Err(failure) if failure.kind() != ErrorKind::BrokenPipe => Err(format!(
            "stdout: {failure}; send the result to a writable file or pipe"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_difference_is_the_first_line_that_is_not_equal() {
        assert_eq!(difference("a\nb\nc", "a\nx\nc"), "- b\n+ x");
        assert_eq!(difference("a", "a\nb"), "- (the end)\n+ b");
    }
}
