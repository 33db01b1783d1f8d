//! The tables of the results.

use std::{future::Future, time::Duration};

use test_brokers::processor_time;

use super::RUNS;

/// A table that is printed row by row.
pub struct Table<'a> {
    /// The process id of the server, if its processor time counts.
    server: Option<&'a str>,
    /// A word in the names of the rows that are wanted.
    row: Option<&'a str>,
}

/// The results of one side of a row.
#[derive(Default)]
struct Side {
    results: Vec<f64>,
    /// The processor time of a message.
    processor: Vec<f64>,
}

impl<'a> Table<'a> {
    /// Prints the head of a table.
    pub fn begin(title: &str, server: Option<&'a str>, row: Option<&'a str>) -> Self {
        println!(
            "\n| {title} | bare | static-bus | static-bus : bare | processor time, bare and static-bus |"
        );
        println!("|---|---|---|---|---|");
        Table { server, row }
    }

    /// Prints a row of rates; more is better.
    pub async fn rate<R: Future<Output = Duration>, O: Future<Output = Duration>>(
        &self,
        what: &str,
        messages: usize,
        raw: impl Fn() -> R,
        ours: impl Fn() -> O,
    ) {
        let rate = |took: Duration| (messages, messages as f64 / took.as_secs_f64());
        self.print(
            what,
            0,
            async || rate(raw().await),
            async || rate(ours().await),
        )
        .await;
    }

    /// Prints a row of times; less is better.
    pub async fn latency<R, O>(&self, what: &str, raw: impl Fn() -> R, ours: impl Fn() -> O)
    where
        R: Future<Output = Vec<Duration>>,
        O: Future<Output = Vec<Duration>>,
    {
        let micros = |times: Vec<Duration>| {
            let micros = times.iter().map(|time| time.as_secs_f64() * 1e6);
            (times.len(), median(micros.collect()))
        };
        self.print(
            what,
            1,
            async || micros(raw().await),
            async || micros(ours().await),
        )
        .await;
    }

    /// Runs both sides in turns. A side returns its number of messages and its result.
    async fn print<R: Future<Output = (usize, f64)>, O: Future<Output = (usize, f64)>>(
        &self,
        what: &str,
        digits: usize,
        raw: impl Fn() -> R,
        ours: impl Fn() -> O,
    ) {
        if self.row.is_some_and(|word| !what.contains(word)) {
            return;
        }
        let (mut bare, mut own) = (Side::default(), Side::default());
        for _ in 0..RUNS {
            self.run(&mut bare, &raw).await;
            self.run(&mut own, &ours).await;
        }
        let ratio = median_ratio(&bare.results, &own.results);
        let ((bare, bare_processor), (own, own_processor)) = (bare.medians(), own.medians());
        println!(
            "| {what} | {bare:.digits$} | {own:.digits$} | {ratio:.2} | {bare_processor:.1}, {own_processor:.1} |"
        );
    }

    async fn run<F: Future<Output = (usize, f64)>>(&self, side: &mut Side, of: impl Fn() -> F) {
        let used = || processor_time("self") + self.server.map(processor_time).unwrap_or_default();
        let before = used();
        let (messages, result) = of().await;
        let used = used().saturating_sub(before).as_secs_f64();
        side.results.push(result);
        side.processor.push(used * 1e6 / messages as f64);
    }
}

impl Side {
    fn medians(self) -> (f64, f64) {
        (median(self.results), median(self.processor))
    }
}

/// The median of the ratios of runs that follow each other: other work of the machine slows down both.
pub fn median_ratio(bare: &[f64], own: &[f64]) -> f64 {
    median(own.iter().zip(bare).map(|(own, bare)| own / bare).collect())
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
