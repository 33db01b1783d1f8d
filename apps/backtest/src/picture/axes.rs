//! The positions and labels of the marks of an axis.

use std::ops::Range;

use chrono::{DateTime, Datelike, NaiveDate};

/// The maximum number of marks on a time axis.
const MARKS: i64 = 11;
const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;

/// A distance between marks, and the format of times at that distance.
#[derive(Clone, Copy)]
enum Step {
    Fixed(i64, &'static str),
    Months(i64, &'static str),
}

const STEPS: [Step; 17] = [
    Step::Fixed(MINUTE, "%H:%M"),
    Step::Fixed(5 * MINUTE, "%H:%M"),
    Step::Fixed(15 * MINUTE, "%m-%d %H:%M"),
    Step::Fixed(60 * MINUTE, "%m-%d %H:%M"),
    Step::Fixed(6 * 60 * MINUTE, "%m-%d %H:%M"),
    Step::Fixed(DAY, "%Y-%m-%d"),
    Step::Fixed(2 * DAY, "%Y-%m-%d"),
    Step::Fixed(7 * DAY, "%Y-%m-%d"),
    Step::Months(1, "%Y-%m"),
    Step::Months(3, "%Y-%m"),
    Step::Months(6, "%Y-%m"),
    Step::Months(12, "%Y"),
    Step::Months(24, "%Y"),
    Step::Months(60, "%Y"),
    Step::Months(120, "%Y"),
    Step::Months(600, "%Y"),
    Step::Months(12_000, "%Y"),
];

impl Step {
    /// In microseconds; approximate for months.
    fn length(self) -> i64 {
        match self {
            Step::Fixed(length, _) => length,
            Step::Months(months, _) => months * 30 * DAY,
        }
    }
}

/// Marks for a range of times in microseconds since 1970-01-01, and the format of their labels.
pub fn time_marks(range: &Range<i64>) -> (Vec<i64>, &'static str) {
    let span = range.end - range.start;
    let fits = |step: &&Step| span / step.length() < MARKS;
    let (mut marks, format): (Vec<i64>, _) =
        match *STEPS.iter().find(fits).unwrap_or(&STEPS[STEPS.len() - 1]) {
            Step::Fixed(length, format) => {
                let first = range.start.div_euclid(length) * length;
                let marks = (first..=range.end).step_by(length as usize);
                (marks.collect(), format)
            }
            Step::Months(months, format) => {
                let month_of = |time| DateTime::from_timestamp_micros(time).map_or(0, month);
                let first = month_of(range.start).div_euclid(months) * months;
                let marks = (first..=month_of(range.end)).step_by(months as usize);
                (marks.filter_map(start_of_month).collect(), format)
            }
        };
    marks.retain(|mark| (range.start..=range.end).contains(mark));
    (marks, format)
}

pub fn time_label(time: i64, format: &str) -> String {
    DateTime::from_timestamp_micros(time)
        .map_or_else(String::new, |time| time.format(format).to_string())
}

/// Months since the year 0.
fn month(time: DateTime<chrono::Utc>) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month0())
}

fn start_of_month(month: i64) -> Option<i64> {
    let year = i32::try_from(month.div_euclid(12)).ok()?;
    let date = NaiveDate::from_ymd_opt(year, month.rem_euclid(12) as u32 + 1, 1)?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

/// A number with the decimals that a range of this span needs.
pub fn number_label(number: f64, span: f64) -> String {
    let decimals = (1.5 - span.log10()).ceil().clamp(0.0, 9.0) as usize;
    // The zero of an axis may be a tiny negative number.
    let number = if number.abs() < span * 1e-9 {
        0.0
    } else {
        number
    };
    format!("{number:.decimals$}")
}

/// The range of these numbers, slightly wider on both sides.
pub fn padded_range(numbers: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| {
        (low.min(number), high.max(number))
    });
    let padding = if high > low {
        (high - low) * 0.04
    } else {
        high.abs().max(1.0) * 0.04
    };
    low - padding..high + padding
}

/// The visible points of a line: of all points in one column of pixels, the lowest and
/// the highest.
pub fn thin(points: &[(i64, f64)], range: &Range<i64>, columns: usize) -> Vec<(i64, f64)> {
    let width = ((range.end - range.start) / columns as i64).max(1);
    points
        .chunk_by(|a, b| (a.0 - range.start) / width == (b.0 - range.start) / width)
        .flat_map(|column| {
            let by_height = |a: &&(i64, f64), b: &&(i64, f64)| a.1.total_cmp(&b.1);
            let low = *column
                .iter()
                .min_by(by_height)
                .expect("a chunk has a point");
            let high = *column
                .iter()
                .max_by(by_height)
                .expect("a chunk has a point");
            let (first, second) = if low.0 <= high.0 {
                (low, high)
            } else {
                (high, low)
            };
            [Some(first), (second != first).then_some(second)]
        })
        .flatten()
        .collect()
}
