use crate::market::{Input, Price, inputs, journal_of, whole_journal_of};
use static_bus::log::json::{ReadError, RecordError, read, record};
use static_bus::sim::Unsorted;
use static_bus::time::{Time, Timeline};
use std::io::BufReader;
use std::ops::ControlFlow;

/// The log of some inputs.
pub fn log_of<E: std::fmt::Debug>(
    inputs: impl IntoIterator<Item = Result<(Time, Input), E>>,
) -> Vec<u8> {
    let mut log = vec![];
    for input in record(inputs, &mut log) {
        input.unwrap();
    }
    log
}

fn read_all(log: &[u8]) -> Vec<Result<(Time, Input), ReadError>> {
    read(log).collect()
}

#[test]
fn a_log_replays_to_the_same_state() {
    let mut log = vec![];
    let original = whole_journal_of(&Timeline::new(), record(inputs(5_000), &mut log));
    // A small buffer, so lines are read in parts.
    let reader = BufReader::with_capacity(7, &log[..]);
    let again = whole_journal_of(&Timeline::new(), read(reader));
    assert!(original.len() > 15_000);
    assert_eq!(original, again);
}

#[test]
fn a_log_of_a_log_is_the_same_to_the_byte() {
    let log = log_of(inputs(5_000));
    assert_eq!(log, log_of(read(&log[..])));
}

#[test]
fn floating_point_numbers_keep_every_bit() {
    let mut bits = 0x3ff0_0000_0000_0001_u64;
    let values: Vec<f64> = std::iter::repeat_with(|| {
        bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        f64::from_bits(bits)
    })
    .filter(|value| value.is_finite())
    .take(10_000)
    .chain([-0.0, f64::MIN_POSITIVE / 4.0, f64::MAX])
    .collect();
    let inputs = values.iter().map(|value| {
        Ok::<_, Unsorted>((
            Time::EPOCH,
            Price {
                symbol: 0,
                value: *value,
            }
            .into(),
        ))
    });
    let log = log_of(inputs);
    for (value, input) in values.iter().zip(read_all(&log)) {
        let Ok((Time::EPOCH, Input::Price(price))) = input else {
            panic!("not the price written")
        };
        assert_eq!(price.value.to_bits(), value.to_bits());
    }
    assert_eq!(read_all(&log).len(), values.len());
}

#[test]
fn an_input_is_in_the_log_before_it_is_delivered() {
    let mut log = vec![];
    let journal = journal_of(
        &Timeline::new(),
        record(inputs(40_000), &mut log),
        |replay| {
            let report = replay.run_with(|_| ControlFlow::Break(())).unwrap();
            assert!(report.stopped);
        },
    );
    let again = whole_journal_of(&Timeline::new(), read(&log[..]));
    assert_eq!(again[..journal.len()], journal);
    assert!(again.len() <= journal.len() + 10, "at most one input more");
}

#[test]
fn a_damaged_line_is_an_error_that_names_it_and_ends_the_log() {
    let log = b"[1,{\"Halt\":{\"symbol\":0}}]\n\n[2,{\"Halt\":\n[3,{\"Halt\":{\"symbol\":0}}]\n";
    let results = read_all(log);
    assert_eq!(results.len(), 2);
    assert!(results[0].is_ok());
    let error = results[1].as_ref().err().unwrap().to_string();
    assert!(
        error.starts_with("log line 3 is not [time, input] ("),
        "{error}"
    );

    let mut cut_short = log_of(inputs(10));
    cut_short.truncate(cut_short.len() - 3);
    assert!(matches!(
        read_all(&cut_short).last(),
        Some(Err(ReadError::Malformed { line: 30, .. }))
    ));
}

#[test]
fn an_unsorted_log_is_an_error_that_names_the_line_and_the_two_times() {
    let log = b"[5,{\"Halt\":{\"symbol\":0}}]\n[4,{\"Halt\":{\"symbol\":0}}]\n";
    let error = read_all(log).pop().unwrap().err().unwrap();
    assert_eq!(
        error.to_string(),
        "log line 2 is not sorted: 1970-01-01T00:00:00.000000004Z comes after \
         1970-01-01T00:00:00.000000005Z; sort the lines by time"
    );
}

#[test]
fn an_error_of_the_inputs_passes_through() {
    let inputs = [
        Err("torn cable"),
        Ok((
            Time::EPOCH,
            Input::from(Price {
                symbol: 0,
                value: 1.0,
            }),
        )),
    ];
    let mut log = vec![];
    let results: Vec<_> = record(inputs, &mut log).collect();
    assert!(matches!(results[0], Err(RecordError::Input("torn cable"))));
    assert!(results[1].is_ok());
    assert_eq!(read_all(&log).len(), 1);
}
