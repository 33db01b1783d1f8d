//! The report of the times of all handlers.

use super::around::Timing;
use super::record::{Counter, Distribution};
use crate::wiring::Registration;
use alloc::{format, string::String, string::ToString, vec::Vec};
use core::{cmp::Reverse, error::Error, fmt, time::Duration};
use quanta::Clock;
use serde_json::json;

/// The times of all handlers, the one with the longest exclusive time first.
///
/// `Display` prints a table with a line for each handler, with names without their paths. `share` is the handler's share of the exclusive time of all.
///
/// ```
/// use static_bus::{layer::Timed, prelude::*};
/// struct Ping;
/// query!(Ping -> u8, name = "net.ping");
/// let timed = Timed::new();
/// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).layer(timed.clone()).build();
/// bus.send::<Ping>(Ping);
/// let table = timed.report().to_string();
/// assert!(table.starts_with("kind   message   handler"));
/// assert!(table.contains("query  net.ping  "));
/// ```
#[derive(Debug, Clone)]
pub struct Report(Vec<HandlerTimes>);

impl Report {
    pub(super) fn of<C: Counter>(handlers: &[Timing<C>], clock: &Clock) -> Self {
        let mut rows: Vec<_> = handlers
            .iter()
            .map(|timing| HandlerTimes::of(timing, clock))
            .collect();
        rows.sort_by_key(|row| {
            let Registration { kind, message, .. } = row.registration;
            (Reverse(row.exclusive), kind, message)
        });
        let all: Duration = rows.iter().map(|row| row.exclusive).sum();
        if !all.is_zero() {
            for row in &mut rows {
                row.share = row.exclusive.as_secs_f64() / all.as_secs_f64();
            }
        }
        Report(rows)
    }

    /// The handlers, the one with the longest exclusive time first. A handler that was not called is one of them.
    pub fn handlers(&self) -> &[HandlerTimes] {
        &self.0
    }

    /// The report as a JSON array with an object for each handler. Times are in nanoseconds.
    ///
    /// ```
    /// use static_bus::{layer::Timed, prelude::*};
    /// struct Ping;
    /// query!(Ping -> u8, name = "net.ping");
    /// let timed = Timed::new();
    /// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).layer(timed.clone()).build();
    /// bus.send::<Ping>(Ping);
    ///
    /// let json: serde_json::Value = serde_json::from_str(&timed.report().to_json()).unwrap();
    /// let ping = &json[0];
    /// assert_eq!(ping["kind"], "query");
    /// assert_eq!(ping["message"], "net.ping");
    /// assert_eq!(ping["count"], 1);
    /// for time in ["p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns", "mean_ns", "total_ns", "exclusive_ns"] {
    ///     assert!(ping[time].is_u64(), "{time}");
    /// }
    /// assert!(ping["share"].is_number() && ping["handler"].is_string());
    /// ```
    pub fn to_json(&self) -> String {
        let rows = self.0.iter().map(HandlerTimes::json);
        serde_json::Value::Array(rows.collect()).to_string()
    }
}

/// The times of one handler.
#[derive(Debug, Clone)]
pub struct HandlerTimes {
    registration: Registration,
    distribution: Distribution,
    clock: Clock,
    total: Duration,
    exclusive: Duration,
    share: f64,
}

impl HandlerTimes {
    fn of<C: Counter>(timing: &Timing<C>, clock: &Clock) -> Self {
        let record = timing.record();
        HandlerTimes {
            registration: record.registration(),
            distribution: record.distribution(),
            clock: clock.clone(),
            total: clock.delta(0, record.total()),
            exclusive: clock.delta(0, record.exclusive()),
            share: 0.0,
        }
    }

    /// The handler and its message, with the layers within the `Timed`.
    pub fn registration(&self) -> Registration {
        self.registration
    }

    /// The number of calls.
    pub fn count(&self) -> u64 {
        self.distribution.count
    }

    /// The total time within which `percent` of the calls have ended, from 0 to 100; at most 3.2 % too high, and
    /// zero without calls.
    ///
    /// # Errors
    /// `percent` is not between 0 and 100.
    ///
    /// ```
    /// use static_bus::{layer::Timed, prelude::*};
    /// struct Ping;
    /// query!(Ping -> u8);
    /// let timed = Timed::new();
    /// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).layer(timed.clone()).build();
    /// bus.send::<Ping>(Ping);
    /// let report = timed.report();
    /// let ping = &report.handlers()[0];
    /// assert_eq!(ping.percentile(100.0)?, ping.max());
    /// let error = ping.percentile(101.0).unwrap_err();
    /// assert_eq!(error.to_string(), "101 is not a percentile: give a number from 0 to 100");
    /// # Ok::<(), static_bus::layer::PercentileError>(())
    /// ```
    pub fn percentile(&self, percent: f64) -> Result<Duration, PercentileError> {
        if (0.0..=100.0).contains(&percent) {
            Ok(self.quantile(percent / 100.0))
        } else {
            Err(PercentileError(percent))
        }
    }
    fn quantile(&self, share: f64) -> Duration {
        self.clock.delta(0, self.distribution.quantile(share))
    }

    /// The longest total time of a call.
    pub fn max(&self) -> Duration {
        self.clock.delta(0, self.distribution.max)
    }

    /// The mean total time of a call; zero without calls.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(nanoseconds(self.total) / self.count().max(1))
    }

    /// The sum of the total times: from the call to the return, callees included.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The sum of the exclusive times: without the callees within the same `Timed`.
    pub fn exclusive(&self) -> Duration {
        self.exclusive
    }

    /// The share of the exclusive time of all handlers, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    fn json(&self) -> serde_json::Value {
        let Registration {
            kind,
            message,
            handler,
            ..
        } = self.registration;
        json!({
            "kind": kind.to_string(),
            "message": message,
            "handler": handler,
            "count": self.count(),
            "p50_ns": nanoseconds(self.quantile(0.5)),
            "p90_ns": nanoseconds(self.quantile(0.9)),
            "p99_ns": nanoseconds(self.quantile(0.99)),
            "p99_9_ns": nanoseconds(self.quantile(0.999)),
            "max_ns": nanoseconds(self.max()),
            "mean_ns": nanoseconds(self.mean()),
            "total_ns": nanoseconds(self.total),
            "exclusive_ns": nanoseconds(self.exclusive),
            "share": self.share,
        })
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let Registration {
            kind,
            message,
            handler,
            ..
        } = self.registration;
        let time = |duration: Duration| format!("{duration:.1?}");
        [
            kind.to_string(),
            without_paths(message),
            without_paths(handler),
            self.count().to_string(),
            time(self.quantile(0.5)),
            time(self.quantile(0.9)),
            time(self.quantile(0.99)),
            time(self.quantile(0.999)),
            time(self.max()),
            time(self.mean()),
            time(self.total),
            time(self.exclusive),
            format!("{:.1} %", self.share * 100.0),
        ]
    }
}

/// The name of a type without the paths in it. A closure keeps the name of its function.
fn without_paths(name: &str) -> String {
    let mut short = String::new();
    for (i, part) in name.split("::").enumerate() {
        let in_word = short.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if i > 0 && in_word && !part.starts_with(['{', '<']) {
            let path = short.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
            short.truncate(path.len());
        } else if i > 0 {
            short.push_str("::");
        }
        short.push_str(part);
    }
    short
}
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The columns of the table. Those of text are aligned to the left.
const COLUMNS: [&str; 13] = [
    "kind",
    "message",
    "handler",
    "count",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "mean",
    "total",
    "exclusive",
    "share",
];
const TEXTS: usize = 3;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.0.iter().map(HandlerTimes::cells).collect();
        let header = COLUMNS.map(String::from);
        let lines = || core::iter::once(&header).chain(&rows);
        let width = |column: usize| {
            let cells = lines().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: [usize; COLUMNS.len()] = core::array::from_fn(width);
        for (i, line) in lines().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "{cell:<width$}")?,
                    _ if column < TEXTS => write!(f, "  {cell:<width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
        }
        Ok(())
    }
}

/// A number that is not a percentile: it is not between 0 and 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PercentileError(f64);
impl fmt::Display for PercentileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        write!(
            f,
            "{number} is not a percentile: give a number from 0 to 100"
        )
    }
}
impl Error for PercentileError {}

#[cfg(test)]
mod tests {
    use super::without_paths;

    #[test]
    fn names_in_the_table_are_without_paths() {
        for (name, short) in [
            ("users.get", "users.get"),
            ("shop::orders::PlaceOrder", "PlaceOrder"),
            ("&shop::Prices<shop::Eur, &str>", "&Prices<Eur, &str>"),
            ("shop::main::{{closure}}", "main::{{closure}}"),
            (
                "shop::main::{{closure}}::{{closure}}",
                "main::{{closure}}::{{closure}}",
            ),
            ("<shop::A as shop::B>::method", "<A as B>::method"),
            ("fn(shop::A) -> shop::B", "fn(A) -> B"),
        ] {
            assert_eq!(without_paths(name), short);
        }
    }
}
