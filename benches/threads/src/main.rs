//! One message from one pinned thread to another, through the channel of static-bus and through others:
//! `cargo run --release -- [rounds]`.

#[path = "../../peers/src/allocations.rs"]
mod allocations;
mod channel;
mod channels;
mod measure;

use channel::{Channel, Input};
use measure::{Cores, Round};
use std::{env, fs, process};

/// What is measured of one channel in one round.
type Contestant = (&'static str, fn(&Cores) -> Round);

fn contestant<C: Channel>() -> Contestant {
    (C::NAME, measure::round::<C>)
}

fn main() {
    let rounds = match env::args().nth(1).map(|rounds| rounds.parse()) {
        None => 200,
        Some(Ok(rounds @ 1..)) => rounds,
        Some(_) => {
            eprintln!("give the number of rounds, or nothing");
            process::exit(2);
        }
    };
    let Some(cores) = Cores::find() else {
        eprintln!("this machine has fewer than two cores");
        process::exit(1);
    };
    // The first one is the baseline.
    let contestants = [
        contestant::<channels::ConcurrentQueue>(),
        contestant::<channels::StaticBus>(),
        contestant::<channels::ArrayQueue>(),
        contestant::<channels::Rtrb>(),
        contestant::<channels::Disruptor>(),
        contestant::<channels::DisruptorOfMany>(),
        contestant::<channels::Crossfire>(),
        contestant::<channels::Crossbeam>(),
        contestant::<channels::Std>(),
        contestant::<channels::StdUnbounded>(),
        contestant::<channels::Tokio>(),
        contestant::<channels::Flume>(),
        contestant::<channels::Kanal>(),
        contestant::<channels::Boxed>(),
    ];
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    println!("Load of the machine at the start: {load}. Rounds: {rounds}.");
    println!(
        "{} bytes a message. Ratios to the first row, medians over the rounds.",
        size_of::<Input>()
    );
    println!();
    report(
        &contestants,
        &measure::alternate(rounds, &cores, &contestants),
    );
}

/// A column of times: its title and its content.
type Times = (&'static str, fn(&Round) -> f64);

const TIMES: [Times; 4] = [
    ("p50", |round| round.p50),
    ("p99", |round| round.p99),
    ("p99.9", |round| round.p999),
    ("time of a message, unpaced", |round| round.unpaced),
];

fn report(contestants: &[Contestant], rounds: &[Vec<Round>]) {
    let over_rounds =
        |of: &dyn Fn(&[Round]) -> f64| measure::median(rounds.iter().map(|round| of(round)));
    let titles = TIMES.map(|(title, _)| title).join(" | ");
    println!("| channel | {titles} | allocations |");
    println!("|---|---:|---:|---:|---:|---:|");
    for (i, (name, _)) in contestants.iter().enumerate() {
        print!("| {name} ");
        for (_, time) in TIMES {
            let ratio = over_rounds(&|round| time(&round[i]) / time(&round[0]));
            print!("| {ratio:.2} ");
        }
        let allocations = over_rounds(&|round| round[i].allocations);
        println!("| {allocations:.2} |");
    }
    let baseline = TIMES.map(|(_, time)| format!("{:.0}", over_rounds(&|round| time(&round[0]))));
    println!();
    println!("The first row in ns: {}", baseline.join(", "));
}
