//! The operator's tool of static-bus: where the messages on a broker are.
//!
//! `args` is the command line, `connect` makes an engine of its URL, and each command has a module. What commands print
//! is collected in `report`, which is also the JSON that they print.

#[cfg(not(any(
    feature = "redis",
    feature = "kafka",
    feature = "sqlite",
    feature = "postgres"
)))]
compile_error!(
    "the tool needs an engine: feature `redis`, `kafka`, `sqlite`, `postgres`, or several"
);

mod args;
mod connect;
mod dead_letters;
mod failure;
mod inspection;
mod output;
mod report;
mod sample;
mod serve;
mod text;
#[cfg(test)]
mod unreliable;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use static_bus_remote::transport::Inspect;

use args::{Cli, Command};
use failure::Failure;
use output::Output;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => return usage(&refusal),
    };
    match connect::run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let status = failure.exit_status();
            if status != 0 {
                let text = without_secrets(&failure.to_string());
                eprintln!("error: {}", text::visible(&text));
            }
            status.into()
        }
    }
}

/// Prints the help, or the refusal of a command line without the passwords in it.
fn usage(refusal: &clap::Error) -> ExitCode {
    if refusal.use_stderr() {
        eprint!("{}", without_secrets(&refusal.to_string()));
    } else {
        // The output may be closed, as by `head`.
        _ = refusal.print();
    }
    u8::try_from(refusal.exit_code()).unwrap_or(2).into()
}

/// A text without the secrets of URLs, on the command line and in the environment in particular.
fn without_secrets(text: &str) -> String {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.chain(std::env::var_os("STATIC_BUS_URL"));
    let arguments: Vec<_> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    text::without_secrets(text, &arguments)
}

/// Runs a command on an engine.
async fn run<T: Inspect>(
    broker: T,
    namespace: &str,
    command: Command,
    output: Output,
) -> Result<(), Failure> {
    match command {
        Command::Topics(selection) => inspection::topics(&broker, &selection, output).await,
        Command::Groups(groups) => inspection::groups(&broker, &groups, output).await,
        Command::DeadLetters(command) => dead_letters::run(broker, command, output).await,
        Command::Watch(watch) => watch::run(&broker, &watch, output).await,
        Command::Serve(serve) => serve::run(broker, namespace, &serve, output).await,
    }
}
