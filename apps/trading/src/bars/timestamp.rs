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
    let time = parse_minutes(parts.next()?, parts.next()?)?;
    let seconds = parts.next().map_or(Some(0), parse_seconds)?;
    Some(time + seconds - offset)
}

/// `14` and `30` as microseconds.
fn parse_minutes(hour: &str, minute: &str) -> Option<i64> {
    let hour = digits(hour, 2).filter(|hour| *hour < 24)?;
    let minute = digits(minute, 2).filter(|minute| *minute < 60)?;
    Some((hour * 60 + minute) * MINUTE)
}

/// `05[.25]` as microseconds; finer digits are dropped.
fn parse_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = digits(whole, 2).filter(|second| *second < 60)?;
    let fraction = all_digits(fraction).then(|| format!("{fraction:0<6.6}"))?;
    Some(whole * 1_000_000 + digits(&fraction, 6)?)
}

/// `Z`, `+01:00` or `+0100` as microseconds; up to 23:59, as in RFC 3339.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, clock) = match text.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", clock) => (1, clock),
        ("-", clock) => (-1, clock),
        _ => return None,
    };
    let (hour, minute) = clock
        .split_once(':')
        .or_else(|| clock.split_at_checked(2))?;
    Some(sign * parse_minutes(hour, minute)?)
}

#[cfg(test)]
mod tests {
    use super::{MINUTE, Timestamp};
    use chrono::NaiveDate;

    fn micros(text: &str) -> Option<i64> {
        Timestamp::parse(text).map(Timestamp::micros)
    }

    /// Each pair of two digits.
    fn pairs() -> impl Iterator<Item = (i64, i64)> {
        (0..100).flat_map(|a| (0..100).map(move |b| (a, b)))
    }

    #[test]
    fn an_offset_has_23_hours_and_59_minutes_at_most() {
        let utc = micros("2000-01-31T14:30Z").expect("a time");
        for (hour, minute) in pairs() {
            let valid = hour < 24 && minute < 60;
            let offset = (hour * 60 + minute) * MINUTE;
            for (sign, shift) in [("+", -offset), ("-", offset)] {
                let expected = valid.then_some(utc + shift);
                for text in [
                    format!("{sign}{hour:02}:{minute:02}"),
                    format!("{sign}{hour:02}{minute:02}"),
                ] {
                    let time = format!("2000-01-31T14:30{text}");
                    assert_eq!(micros(&time), expected, "{time}");
                }
            }
        }
    }

    #[test]
    fn an_offset_of_another_form_is_none() {
        for offset in [
            "+",
            "-",
            "+1",
            "+01",
            "+1:00",
            "+01:0",
            "+01:",
            "+:00",
            "+:0100",
            "+010:0",
            "+0100:",
            "+01:00:00",
            "+010000",
            "+01:00Z",
            "+-1:00",
            "++1:00",
            "+0x:00",
            "+01.00",
            "+1e:00",
            "+01 00",
            "Z0100",
            "Z01:00",
            "z+01:00",
            "ZZ",
            "ZZ01",
            "Z ",
            "UTC",
            "+24:00",
            "-24:00",
            "+00:60",
            "-99:99",
        ] {
            let time = format!("2000-01-31T14:30{offset}");
            assert_eq!(micros(&time), None, "{time}");
        }
    }

    #[test]
    fn a_time_of_day_ends_before_24_00() {
        let midnight = micros("2000-01-31").expect("a date");
        for (hour, minute) in pairs() {
            let expected = midnight + (hour * 60 + minute) * MINUTE;
            let valid = hour < 24 && minute < 60;
            let time = format!("2000-01-31 {hour:02}:{minute:02}");
            assert_eq!(micros(&time), valid.then_some(expected), "{time}");
        }
        for second in 0..100 {
            let time = format!("2000-01-31T23:59:{second:02}.25z");
            let expected = midnight + 1_439 * MINUTE + second * 1_000_000 + 250_000;
            assert_eq!(micros(&time), (second < 60).then_some(expected), "{time}");
        }
        for clock in [
            "",
            "T",
            "T1",
            "T14",
            "T14:",
            "T1:30",
            "T14:3",
            "T014:30",
            "T14:030",
            "T14:30:",
            "T14:30:5",
            "T14:30:005",
            "T14:30:05.",
            "T14:30:05.x",
            "T14:30.5",
            "T14:30:05:00",
            "T-1:30",
            "T+1:30",
            "T14-30",
            "X14:30",
            "TT14:30",
            "14:30",
            "Z",
            "+01:00",
        ] {
            let time = format!("2000-01-31{clock}");
            let expected = clock.is_empty().then_some(midnight);
            assert_eq!(micros(&time), expected, "{time}");
        }
    }

    #[test]
    fn a_date_is_one_of_the_calendar() {
        for year in [
            0, 1, 4, 100, 400, 1582, 1600, 1900, 1969, 1970, 2000, 2023, 2024, 2100, 9999,
        ] {
            for (month, day) in pairs() {
                let date = NaiveDate::from_ymd_opt(year, month as u32, day as u32);
                let expected = date
                    .and_then(|date| date.and_hms_opt(0, 0, 0))
                    .map(|midnight| midnight.and_utc().timestamp_micros());
                let text = format!("{year:04}-{month:02}-{day:02}");
                assert_eq!(micros(&text), expected, "{text}");
            }
        }
        for date in [
            "",
            "2000",
            "2000-01",
            "2000-1-31",
            "2000-01-1",
            "20000131",
            "2000/01/31",
            "31-01-2000",
            "2000-001-1",
            "-200-01-31",
            "+200-01-31",
            "2000-01-311",
            "２000-01-31",
            "12345678",
            "12345678901",
            "1577923200.5",
            "-577923200",
        ] {
            assert_eq!(micros(date), None, "{date}");
        }
    }
}
