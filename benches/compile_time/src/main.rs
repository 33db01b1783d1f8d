//! The compile time of a bus of N handlers.
//!
//! `cargo run --release --manifest-path benches/compile_time/Cargo.toml` generates programs with N
//! messages, has cargo compile each of them several times in turn, and prints a table of medians.
//! `--write` also puts the tables of the measured jobs into `docs/BENCHMARKS.md`, and the plot of all jobs into
//! `docs/compile_time.svg`.

mod measure;
mod plot;
mod program;
mod report;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use measure::{Cost, Job, Package};
use program::Bus;
use report::{Cold, Figure, Report};
use std::path::Path;

/// A run that takes longer than this, in seconds, is not repeated.
const LONG: f64 = 20.0;

/// Measures the compile time of buses with many handlers.
#[derive(Parser)]
struct Cli {
    /// The numbers of handlers.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 50, 100, 200, 500, 1000])]
    handlers: Vec<usize>,
    /// The ways of writing the bus.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Bus::value_variants().to_vec())]
    bus: Vec<Bus>,
    /// The cargo commands.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Job::value_variants().to_vec())]
    job: Vec<Job>,
    /// The number of compilations of each program; one that takes longer than 20 s is compiled once.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Rewrites the sections in docs/BENCHMARKS.md, and with all jobs the plot.
    #[arg(long)]
    write: bool,
    /// Prints the program of one kind of bus with this number of handlers, and stops.
    #[arg(long, value_names = ["BUS", "HANDLERS"], num_args = 2)]
    print: Option<Vec<String>>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some([bus, handlers]) = cli.print.as_deref() {
        let bus = Bus::from_str(bus, true).map_err(anyhow::Error::msg)?;
        print!("{}", bus.program(handlers.parse()?));
        return Ok(());
    }

    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = here.join("../..").canonicalize()?;
    let package = Package::new(&library, here.join("target/program"), true)?;
    let core = Package::new(&library, here.join("target/program-of-core"), false)?;

    let mut report = Report::default();
    for job in [Job::Check, Job::Debug, Job::Release] {
        report.cold.push(Cold {
            job,
            default: package.cold(job)?,
            core: core.cold(job)?,
        });
    }
    package.prepare(&cli.job)?;
    for &handlers in &cli.handlers {
        for &job in &cli.job {
            report
                .figures
                .extend(compare(&package, &cli, handlers, job)?);
        }
        // Now and not at the end, so the figures of the smaller programs remain if the run is stopped.
        if cli.write {
            report.write_into(&library.join("docs/BENCHMARKS.md"))?;
            // A plot of some jobs only would not be that of the documentation.
            if cli.job.len() == Job::value_variants().len() {
                plot::draw(&report, &library.join("docs/compile_time.svg"))?;
            }
        }
    }
    println!("\n{report}");
    Ok(())
}

/// Measures each kind of bus with this number of handlers, in turns, so other load on the machine
/// affects all of them.
fn compare(package: &Package, cli: &Cli, handlers: usize, job: Job) -> Result<Vec<Figure>> {
    let buses: Vec<Bus> = cli
        .bus
        .iter()
        .copied()
        .filter(|bus| handlers <= bus.most(job))
        .collect();
    let mut costs = vec![vec![]; buses.len()];
    let mut empty = vec![];
    for _ in 0..cli.repeats.max(1) {
        empty.push(package.empty(job)?);
        for (&bus, costs) in buses.iter().zip(&mut costs) {
            let long = costs.last().is_some_and(|cost: &Cost| cost.wall > LONG);
            if !long {
                costs.push(package.measure(bus, handlers, job)?);
            }
        }
    }
    let empty = Cost::median(&empty);
    let figures: Vec<Figure> = buses
        .iter()
        .zip(&costs)
        .map(|(&bus, costs)| Figure {
            bus,
            handlers,
            job,
            cost: Cost::median(costs).over(empty),
        })
        .collect();
    for Figure { bus, cost, .. } in &figures {
        eprintln!(
            "{:28} {handlers:5} {:14} {:7.2} s {:7.2} s CPU {:6.0} MB {:7.1} MB binary",
            job.title(),
            bus.title(),
            cost.wall,
            cost.cpu,
            cost.memory,
            cost.binary
        );
    }
    Ok(figures)
}
