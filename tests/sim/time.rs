use proptest::prelude::*;
use static_bus::time::{OutOfRange, Time};
use std::panic::catch_unwind;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Times of every magnitude, and often ones whose text is short.
fn times() -> impl Strategy<Value = Time> {
    let nanos = prop_oneof![
        any::<i64>(),
        (-1_000..1_000i64),
        (any::<i64>(), 0..15u32).prop_map(|(nanos, zeros)| {
            let unit = 10_i64.pow(zeros);
            nanos / unit * unit
        }),
        (any::<i64>(), Just(86_400_000_000_000))
            .prop_map(|(nanos, day)| (nanos / day * day).saturating_sub(1)),
    ];
    nanos.prop_map(Time::from_nanos)
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        any::<u64>().prop_map(Duration::from_nanos),
        (any::<u64>(), 0..1_000_000_000u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn the_text_is_that_of_rfc_3339_with_no_needless_digit(time in times()) {
        let other = jiff::Timestamp::from_nanosecond(time.as_nanos().into()).unwrap();
        prop_assert_eq!(time.to_string(), other.to_string());
        prop_assert_eq!(format!("{time:?}"), other.to_string());
    }

    #[test]
    fn sums_and_differences_are_those_of_numbers_or_none(time in times(), duration in durations()) {
        let (nanos, length) = (i128::from(time.as_nanos()), duration.as_nanos() as i128);
        let exact = |nanos: i128| i64::try_from(nanos).ok().map(Time::from_nanos);
        prop_assert_eq!(time.checked_add(duration), exact(nanos + length));
        prop_assert_eq!(time.checked_sub(duration), exact(nanos - length));
        prop_assert_eq!(time.saturating_add(duration), exact(nanos + length).unwrap_or(Time::MAX));
        prop_assert_eq!(time.saturating_sub(duration), exact(nanos - length).unwrap_or(Time::MIN));
        if let Some(later) = time.checked_add(duration) {
            let mut moved = time;
            moved += duration;
            prop_assert_eq!((time + duration, moved), (later, later));
            moved -= duration;
            prop_assert_eq!((later - duration, moved), (time, time));
            prop_assert_eq!(later - time, duration);
        }
    }

    #[test]
    fn the_distance_of_two_times_is_a_duration_from_the_earlier(a in times(), b in times()) {
        let distance = i128::from(b.as_nanos()) - i128::from(a.as_nanos());
        let distance = u64::try_from(distance).ok().map(Duration::from_nanos);
        prop_assert_eq!(b.checked_duration_since(a), distance);
        prop_assert_eq!(b.saturating_duration_since(a), distance.unwrap_or_default());
    }

    #[test]
    fn the_time_of_the_system_converts_both_ways(time in times()) {
        prop_assert_eq!(Time::try_from(SystemTime::from(time)), Ok(time));
    }
}

#[test]
fn units_are_exact_and_the_default_is_the_epoch() {
    assert_eq!(Time::from_secs(-2), Time::from_millis(-2_000));
    assert_eq!(Time::from_millis(7), Time::from_micros(7_000));
    assert_eq!(Time::from_micros(7).as_nanos(), 7_000);
    assert_eq!(Time::default(), Time::EPOCH);
    assert_eq!(
        SystemTime::from(Time::from_secs(3)),
        UNIX_EPOCH + Duration::from_secs(3)
    );
}

#[test]
fn the_first_and_the_last_time_are_those_of_the_documentation() {
    assert_eq!(Time::MIN.to_string(), "1677-09-21T00:12:43.145224192Z");
    assert_eq!(Time::MAX.to_string(), "2262-04-11T23:47:16.854775807Z");
}

/// The text of the panic of a function.
fn panic_of(run: fn() -> Time) -> String {
    let panic = catch_unwind(run).unwrap_err();
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().unwrap().to_string(),
    }
}

#[test]
fn a_time_that_does_not_fit_is_a_panic_with_the_range_and_the_remedy() {
    let nano = Duration::from_nanos(1);
    const OUT_OF_RANGE: &str = "a `Time` is between 1677-09-21T00:12:43.145224192Z and \
         2262-04-11T23:47:16.854775807Z: give a time within that, or call a method that begins with \
         `checked_` or `saturating_`";
    for run in [
        || Time::from_secs(i64::MAX),
        || Time::from_millis(i64::MIN),
        || Time::from_micros(i64::MAX / 1_000 + 1),
        || Time::MAX + Duration::from_nanos(1),
        || Time::MIN - Duration::MAX,
    ] {
        assert_eq!(panic_of(run), OUT_OF_RANGE);
    }
    assert_eq!(
        (Time::MAX - nano + nano, Time::MIN + nano - nano),
        (Time::MAX, Time::MIN)
    );
}

#[test]
fn a_negative_difference_is_a_panic_that_names_both_times_and_the_remedy() {
    assert_eq!(
        panic_of(|| Time::EPOCH + (Time::from_secs(1) - Time::from_secs(2))),
        "1970-01-01T00:00:02Z is later than 1970-01-01T00:00:01Z, and a `Duration` has no sign: swap the \
         two, or call `checked_duration_since` or `saturating_duration_since`"
    );
}

#[test]
fn a_time_of_the_system_that_does_not_fit_is_an_error_with_the_range() {
    let far = Duration::from_secs(1 << 34);
    for time in [UNIX_EPOCH + far, UNIX_EPOCH - far] {
        let error: OutOfRange = Time::try_from(time).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the time is not between 1677-09-21T00:12:43.145224192Z and 2262-04-11T23:47:16.854775807Z: \
             set the clock that it was read from"
        );
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_serialized_time_is_an_integer() {
    let time = Time::from_micros(-1_500);
    assert_eq!(serde_json::to_string(&time).unwrap(), "-1500000");
    assert_eq!(serde_json::from_str::<Time>("-1500000").unwrap(), time);
}
