//! The date of a bar: `2000-01-03`, `2000-01-03 14:30[:05[.25]][Z|+01:00]`, or Unix seconds.

use std::fmt;

use chrono::{DateTime, SecondsFormat};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Microseconds since 1970-01-01, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    pub fn parse(text: &str) -> Option<Self> {
        if !text.is_ascii() {
            return None;
        }
        if let Some(date) = text.get(..10).and_then(parse_date) {
            let time = match text[10..].strip_prefix(['T', 't', ' ']) {
                Some(clock) => parse_clock(clock)?,
                None if text.len() == 10 => 0,
                None => return None,
            };
            return Some(Self(date * DAY + time));
        }
        // Unix seconds have ten digits from 2001 to 2286; fewer would be a date such as 20000103.
        let digits = (9..=10).contains(&text.len()) && all_digits(text);
        let seconds: i64 = digits.then(|| text.parse().ok())??;
        Some(Self(seconds * 1_000_000))
    }

    /// Microseconds since 1970-01-01, UTC.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Days since 1970-01-01.
    pub fn day(self) -> i64 {
        self.0.div_euclid(DAY)
    }
}

/// `2000-01-03`, and the time of day unless it is midnight.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::from_timestamp_micros(self.0).ok_or(fmt::Error)?;
        if self.0.rem_euclid(DAY) == 0 {
            write!(f, "{}", time.format("%Y-%m-%d"))
        } else {
            write!(f, "{}", time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        }
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number with exactly this number of digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && all_digits(text)).then(|| text.parse().ok())?
}

/// `2000-01-03` as days since 1970-01-01.
fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years start in March, so a leap day is the last day of a year.
    let years = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    Some(years * 365 + leap_days + day_of_year - 719_468)
}

/// `14:30[:05[.25]][Z|+01:00]` as microseconds since midnight, UTC.
fn parse_clock(text: &str) -> Option<i64> {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text[..at].trim_end(), parse_offset(&text[at..])?),
        None => (text, 0),
    };
    let mut parts = clock.splitn(3, ':');
    let hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = digits(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let seconds = parts.next().map_or(Some(0), parse_seconds)?;
    Some((hour * 60 + minute) * MINUTE + seconds - offset)
}

/// `05[.25]` as microseconds; finer digits are dropped.
fn parse_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = digits(whole, 2).filter(|second| *second < 60)?;
    let fraction = all_digits(fraction).then(|| format!("{fraction:0<6.6}"))?;
    Some(whole * 1_000_000 + digits(&fraction, 6)?)
}

/// `Z`, `+01:00` or `+0100` as microseconds.
fn parse_offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, clock) = text.split_at(1);
    let clock = digits(&clock.replacen(':', "", 1), 4)?;
    let minutes = (clock / 100) * 60 + clock % 100;
    Some(if sign == "-" { -minutes } else { minutes } * MINUTE)
}
