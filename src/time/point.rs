//! A point in time: its arithmetic, its text, and its conversions.

use core::ops::{Add, AddAssign, Sub, SubAssign};
use core::{error::Error, fmt, time::Duration};
use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// The count is an `i64`, so that times before 1970 are possible. It reaches from [`MIN`](Time::MIN), in
/// the year 1677, to [`MAX`](Time::MAX), in the year 2262. A stretch of time is a [`Duration`].
///
/// `Display` and `Debug` are RFC 3339, in UTC, with as many digits of the second as it needs. With feature
/// `serde`, a time is serialized as its count of nanoseconds, an integer.
///
/// ```
/// use static_bus::time::Time;
/// use std::time::Duration;
///
/// let open = Time::from_secs(946_909_800);
/// let later = open + Duration::from_micros(1_500_250);
/// assert_eq!(open.to_string(), "2000-01-03T14:30:00Z");
/// assert_eq!(later.to_string(), "2000-01-03T14:30:01.50025Z");
/// assert_eq!(later.as_nanos(), 946_909_801_500_250_000);
/// assert_eq!(later - open, Duration::from_micros(1_500_250));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct Time(i64);

impl Time {
    /// 1970-01-01T00:00:00Z, the default.
    pub const EPOCH: Time = Time(0);
    /// 1677-09-21T00:12:43.145224192Z.
    pub const MIN: Time = Time(i64::MIN);
    /// 2262-04-11T23:47:16.854775807Z.
    pub const MAX: Time = Time(i64::MAX);

    /// Nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Time(nanos)
    }

    /// Microseconds since the epoch.
    ///
    /// # Panics
    ///
    /// If the time is outside of [`MIN`](Time::MIN) to [`MAX`](Time::MAX).
    #[track_caller]
    pub const fn from_micros(micros: i64) -> Self {
        Self::from_units(micros, 1_000)
    }

    /// Milliseconds since the epoch.
    ///
    /// # Panics
    ///
    /// If the time is outside of [`MIN`](Time::MIN) to [`MAX`](Time::MAX).
    #[track_caller]
    pub const fn from_millis(millis: i64) -> Self {
        Self::from_units(millis, 1_000_000)
    }

    /// Seconds since the epoch.
    ///
    /// # Panics
    ///
    /// If the time is outside of [`MIN`](Time::MIN) to [`MAX`](Time::MAX).
    #[track_caller]
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_units(secs, NANOS_PER_SEC)
    }

    #[track_caller]
    const fn from_units(count: i64, nanos: i64) -> Self {
        Time(count.checked_mul(nanos).expect(OUT_OF_RANGE))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// `self + duration`; `None` if that is later than [`MAX`](Time::MAX).
    pub const fn checked_add(self, duration: Duration) -> Option<Self> {
        Self::from_wide(self.0 as i128 + duration.as_nanos() as i128)
    }

    /// `self - duration`; `None` if that is earlier than [`MIN`](Time::MIN).
    pub const fn checked_sub(self, duration: Duration) -> Option<Self> {
        Self::from_wide(self.0 as i128 - duration.as_nanos() as i128)
    }

    const fn from_wide(nanos: i128) -> Option<Self> {
        let narrow = nanos as i64;
        if narrow as i128 == nanos {
            Some(Time(narrow))
        } else {
            None
        }
    }

    /// `self + duration`, or [`MAX`](Time::MAX) if that is earlier.
    pub const fn saturating_add(self, duration: Duration) -> Self {
        match self.checked_add(duration) {
            Some(time) => time,
            None => Time::MAX,
        }
    }

    /// `self - duration`, or [`MIN`](Time::MIN) if that is later.
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        match self.checked_sub(duration) {
            Some(time) => time,
            None => Time::MIN,
        }
    }

    /// The time from `earlier` to `self`; `None` if `earlier` is later.
    pub const fn checked_duration_since(self, earlier: Time) -> Option<Duration> {
        if self.0 < earlier.0 {
            return None;
        }
        // The difference of any two times fits into a `u64`.
        Some(Duration::from_nanos(self.0.wrapping_sub(earlier.0) as u64))
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Time) -> Duration {
        match self.checked_duration_since(earlier) {
            Some(duration) => duration,
            None => Duration::ZERO,
        }
    }
}

/// Panics if the sum is later than [`MAX`](Time::MAX).
impl Add<Duration> for Time {
    type Output = Time;
    #[track_caller]
    fn add(self, duration: Duration) -> Time {
        self.checked_add(duration).expect(OUT_OF_RANGE)
    }
}

impl AddAssign<Duration> for Time {
    #[track_caller]
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Panics if the difference is earlier than [`MIN`](Time::MIN).
impl Sub<Duration> for Time {
    type Output = Time;
    #[track_caller]
    fn sub(self, duration: Duration) -> Time {
        self.checked_sub(duration).expect(OUT_OF_RANGE)
    }
}

impl SubAssign<Duration> for Time {
    #[track_caller]
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

/// Panics if `earlier` is later than `self`.
impl Sub for Time {
    type Output = Duration;
    #[track_caller]
    fn sub(self, earlier: Time) -> Duration {
        let Some(duration) = self.checked_duration_since(earlier) else {
            panic!(
                "{earlier} is later than {self}, and a `Duration` has no sign: swap the two, or call \
                 `checked_duration_since` or `saturating_duration_since`"
            )
        };
        duration
    }
}

const NANOS_PER_SEC: i64 = 1_000_000_000;

const OUT_OF_RANGE: &str = "a `Time` is between 1677-09-21T00:12:43.145224192Z and \
                            2262-04-11T23:47:16.854775807Z: give a time within that, or call a method \
                            that begins with `checked_` or `saturating_`";

/// RFC 3339.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = split(self.0, NANOS_PER_SEC);
        let (days, second) = split(seconds, 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if nanos > 0 {
            let (mut digits, mut fraction) = (9, nanos);
            while fraction % 10 == 0 {
                digits -= 1;
                fraction /= 10;
            }
            write!(f, ".{fraction:0digits$}")?;
        }
        f.write_str("Z")
    }
}

/// As `Display`.
impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of whole units in a count, and the rest of it.
fn split(count: i64, unit: i64) -> (i64, i64) {
    (count.div_euclid(unit), count.rem_euclid(unit))
}

/// Year, month and day of the day with this number, from 1970-01-01 on. Algorithm `civil_from_days` of
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": eras of 400 years that begin on a 1 March,
/// so that a leap day is the last day of a year.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let (era, day) = split(days + 719_468, 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (400 * era + year + later, month, day)
}

impl From<Time> for SystemTime {
    /// The same time, rounded to what the system's clock can express.
    fn from(time: Time) -> SystemTime {
        let distance = Duration::from_nanos(time.0.unsigned_abs());
        if time.0 < 0 {
            UNIX_EPOCH - distance
        } else {
            UNIX_EPOCH + distance
        }
    }
}

impl TryFrom<SystemTime> for Time {
    type Error = OutOfRange;

    fn try_from(time: SystemTime) -> Result<Time, OutOfRange> {
        let time = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Time::EPOCH.checked_add(after),
            Err(before) => Time::EPOCH.checked_sub(before.duration()),
        };
        time.ok_or(OutOfRange)
    }
}

/// The error of a conversion to a [`Time`] that cannot be expressed: it is before the year 1677 or after
/// the year 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (Time::MIN, Time::MAX);
        write!(
            f,
            "the time is not between {min} and {max}: set the clock that it was read from"
        )
    }
}

impl Error for OutOfRange {}
