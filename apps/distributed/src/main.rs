//! The shop of `examples/monolith` with asynchronous handlers: one module, one file, any wiring.
//!
//! ```text
//! cargo run -p distributed                      # one bus
//! cargo run -p distributed -- --bus memory      # a bus for each module
//! cargo run -p distributed -- --bus sqlite      # the same, over a file
//! cargo run -p distributed --features postgres -- --bus postgres  # the same, over PostgreSQL
//! cargo run -p distributed --features redis -- --bus redis        # the same, over Redis
//! cargo run -p distributed --features kafka -- --bus kafka        # the same, over Kafka
//! ```
//!
//! In several processes, each in a terminal of its own, over a file, or with the options above over a server:
//!
//! ```text
//! cargo run -p distributed -- --serve users,inventory
//! cargo run -p distributed -- --serve orders,notifications
//! cargo run -p distributed -- --drive
//! ```
//!
//! With `--features otlp` and `--traces http://localhost:4318` each process sends its spans to an OpenTelemetry collector.
//!
//! `wiring.rs` decides which module is in which process. The modules do not depend on it.

mod cli;
mod driver;
#[cfg(test)]
mod faults;
mod inventory;
mod journal;
mod notifications;
mod orders;
mod traces;
mod users;
mod wiring;

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Parser;
use static_bus_remote::{DeadLetters, MemoryBroker, Transport};

use cli::{Bus, Cli};

type Failure = Box<dyn Error + Send + Sync>;

/// The time for a call to the broker. New topics and tables take seconds on a busy machine.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "kafka"))]
const DEADLINE: Duration = Duration::from_secs(60);

/// The time for running handlers to finish when the process ends.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    cli.check()?;
    let traces = traces::Traces::start(&cli)?;
    match cli.bus() {
        Bus::Local => driver::drive(&wiring::monolith()).await,
        Bus::Memory => run_on(&cli, MemoryBroker::new()).await,
        Bus::Sqlite => run_on_sqlite(&cli).await,
        Bus::Postgres => run_on_postgres(&cli).await,
        Bus::Redis => run_on_redis(&cli).await,
        Bus::Kafka => run_on_kafka(&cli).await,
    }?;
    traces.end()
}

#[cfg(feature = "sqlite")]
async fn run_on_sqlite(cli: &Cli) -> Result<(), Failure> {
    use static_bus_sql::SqliteTransport;
    let config = SqliteTransport::builder(cli.url()).namespace(&cli.namespace);
    run_on(cli, config.deadline(DEADLINE).connect().await?).await
}

#[cfg(not(feature = "sqlite"))]
async fn run_on_sqlite(_: &Cli) -> Result<(), Failure> {
    Err(
        "--bus sqlite needs the feature `sqlite`, which is a default one: \
         cargo run -p distributed -- --bus sqlite"
            .into(),
    )
}

#[cfg(feature = "postgres")]
async fn run_on_postgres(cli: &Cli) -> Result<(), Failure> {
    use static_bus_sql::PostgresTransport;
    let config = PostgresTransport::builder(cli.url()).namespace(&cli.namespace);
    run_on(cli, config.deadline(DEADLINE).connect().await?).await
}

#[cfg(not(feature = "postgres"))]
async fn run_on_postgres(_: &Cli) -> Result<(), Failure> {
    Err("--bus postgres needs the feature `postgres`: \
         cargo run -p distributed --features postgres -- --bus postgres"
        .into())
}

#[cfg(feature = "redis")]
async fn run_on_redis(cli: &Cli) -> Result<(), Failure> {
    use static_bus_redis::RedisTransport;
    let config = RedisTransport::builder(cli.url()).namespace(&cli.namespace);
    run_on(cli, config.connect().await?).await
}

#[cfg(not(feature = "redis"))]
async fn run_on_redis(_: &Cli) -> Result<(), Failure> {
    Err("--bus redis needs the feature `redis`: \
         cargo run -p distributed --features redis -- --bus redis"
        .into())
}

#[cfg(feature = "kafka")]
async fn run_on_kafka(cli: &Cli) -> Result<(), Failure> {
    use static_bus_kafka::KafkaTransport;
    let config = KafkaTransport::builder(cli.url()).namespace(&cli.namespace);
    run_on(cli, config.deadline(DEADLINE).connect().await?).await
}

#[cfg(not(feature = "kafka"))]
async fn run_on_kafka(_: &Cli) -> Result<(), Failure> {
    Err("--bus kafka needs the feature `kafka`: \
         cargo run -p distributed --features kafka -- --bus kafka"
        .into())
}

async fn run_on<T: Transport>(cli: &Cli, broker: T) -> Result<(), Failure> {
    let part = cli.part();
    let mut workers = Vec::new();
    for &module in &part.serves {
        workers.push(wiring::serve(module, broker.clone()).await?);
    }

    if part.drives {
        let remote = wiring::connect("customer", broker.clone()).await?;
        if cli.extract_users {
            driver::drive(&wiring::without_users(remote)).await?;
        } else {
            driver::drive(&remote).await?;
        }
    } else {
        let (modules, server) = (&part.serves, broker.address());
        println!("serving {modules:?} on {server}, until Ctrl-C");
        tokio::signal::ctrl_c().await?;
    }

    for worker in workers {
        worker.shutdown(PATIENCE).await;
    }
    if part.drives && !part.serves.is_empty() {
        print_dead_letters(broker).await?;
    }
    Ok(())
}

/// Prints the dead letters. After its shutdown a worker has written all of them.
async fn print_dead_letters<T: Transport>(broker: T) -> Result<(), Failure> {
    for letter in DeadLetters::of(broker).list(None, 100).await? {
        println!("dead letter: {} ({})", letter.origin, letter.error);
    }
    Ok(())
}
