use crate::market::{Halt, Input, inputs, whole_journal_of};
use crate::support::{Folder, json, record, small_segments};
use static_bus::log::{Durability, LogError, OnError, Options, Reader, WriteError, Writer};
use static_bus::sim::Unsorted;
use static_bus::time::{Time, Timeline};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Inputs one after the other, at 1 ns, 2 ns, …
fn halts(numbers: std::ops::Range<usize>) -> impl Iterator<Item = Result<(Time, Input), Unsorted>> {
    numbers.map(|symbol| Ok((Time::from_nanos(symbol as i64), Halt { symbol }.into())))
}

fn never() -> Options {
    Options::new().flush_every(Duration::MAX)
}

#[test]
fn a_log_replays_to_the_same_state() {
    let folder = Folder::new();
    let mut writer = Options::new()
        .segment_bytes(50_000)
        .create::<Input>(folder.log())
        .unwrap();
    let recorded = inputs(5_000).map(|input| {
        let (time, input) = input.unwrap();
        writer.record(time, &input).map(|()| (time, input))
    });
    let original = whole_journal_of(&Timeline::new(), recorded);
    drop(writer);
    assert!(folder.segments().len() > 3);
    let again = whole_journal_of(&Timeline::new(), Reader::open(folder.log()).unwrap());
    assert!(original.len() > 15_000);
    assert_eq!(original, again);
}

#[test]
fn the_end_of_the_run_is_read_back() {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    record(&mut writer, halts(0..10), 3);
    writer.end(Time::from_nanos(77)).unwrap();
    let reader = Reader::<Input>::open(folder.log()).unwrap();
    let tail = reader.tail().unwrap();
    assert_eq!(tail.end, Some(Time::from_nanos(77)));
    assert_eq!(tail.position, 10);
    assert_eq!(tail.torn, None);
    assert_eq!(reader.count(), 10);
}

#[test]
fn an_end_before_the_last_input_is_an_error() {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    record(&mut writer, halts(0..10), 3);
    let error = writer.end(Time::from_nanos(8)).unwrap_err();
    assert!(matches!(error, WriteError::Late { .. }));
    assert_eq!(
        Reader::<Input>::open(folder.log())
            .unwrap()
            .tail()
            .unwrap()
            .end,
        None
    );
}

#[test]
fn a_dropped_writer_has_written_everything_and_no_end() {
    let folder = Folder::new();
    let mut writer = never().create::<Input>(folder.log()).unwrap();
    record(&mut writer, halts(0..1_000), usize::MAX);
    drop(writer);
    let reader = Reader::<Input>::open(folder.log()).unwrap();
    assert_eq!(reader.tail().unwrap().end, None);
    assert_eq!(reader.count(), 1_000);
}

#[test]
fn what_is_flushed_is_recorded_and_can_be_read() {
    for durability in [Durability::Process, Durability::Disk] {
        let folder = Folder::new();
        let mut writer = never()
            .durability(durability)
            .create::<Input>(folder.log())
            .unwrap();
        record(&mut writer, halts(0..10), usize::MAX);
        assert_eq!((writer.position(), writer.recorded()), (10, 0));
        writer.flush().unwrap();
        assert_eq!((writer.position(), writer.recorded()), (10, 10));
        assert_eq!(folder.read().0.len(), 10);
        writer.flush().unwrap();
    }
}

/// Waits for a number of recorded inputs; a test that fails waits a minute.
fn wait_for(writer: &Writer<Input>, recorded: u64) {
    for _ in 0..6_000 {
        if writer.recorded() >= recorded {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} recorded, not {recorded}", writer.recorded());
}

#[test]
fn inputs_are_flushed_after_a_time() {
    let folder = Folder::new();
    let options = Options::new().flush_every(Duration::from_millis(1));
    let mut writer = options.create::<Input>(folder.log()).unwrap();
    for end in [1, 5] {
        record(&mut writer, halts(end - 1..end), usize::MAX);
        wait_for(&writer, writer.position());
    }
}

#[test]
fn inputs_are_flushed_after_a_number() {
    let folder = Folder::new();
    let mut writer = never()
        .flush_after(4)
        .create::<Input>(folder.log())
        .unwrap();
    record(&mut writer, halts(0..3), usize::MAX);
    assert_eq!(writer.recorded(), 0);
    record(&mut writer, halts(3..4), usize::MAX);
    wait_for(&writer, 4);
    record(&mut writer, halts(4..8), usize::MAX);
    wait_for(&writer, 8);
}

#[test]
fn a_full_buffer_is_waited_for_and_loses_nothing() {
    let whole = Vec::from_iter(inputs(300).map(Result::unwrap));
    // Of 7 bytes, so no input fits as a whole.
    for buffer in [7, 100] {
        let folder = Folder::new();
        let mut writer = never()
            .buffer_bytes(buffer)
            .create::<Input>(folder.log())
            .unwrap();
        record(&mut writer, inputs(300), usize::MAX);
        writer.flush().unwrap();
        assert_eq!(json(&folder.read().0), json(&whole));
    }
}

#[test]
fn recording_allocates_nothing_per_input() {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    let inputs = Vec::from_iter(inputs(100_000).map(Result::unwrap));
    let allocations = allocation_counter::measure(|| {
        for (time, input) in &inputs {
            writer.record(*time, input).unwrap();
        }
    });
    assert_eq!(allocations.count_total, 0);
    writer.flush().unwrap();
    assert_eq!(writer.recorded(), 300_000);
}

#[test]
fn an_input_before_the_last_one_is_refused_and_the_next_is_recorded() {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    record(&mut writer, halts(5..6), 1);
    let error = writer
        .record(Time::from_nanos(4), &Halt { symbol: 4 }.into())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "an input of time 1970-01-01T00:00:00.000000004Z cannot be logged after one of time \
         1970-01-01T00:00:00.000000005Z: record inputs in order of time"
    );
    record(&mut writer, halts(5..7), 1);
    assert_eq!(folder.read().0.len(), 3);
}

#[test]
fn all_times_can_be_recorded() {
    let times = [i64::MIN, i64::MIN, -1, 0, 1, i64::MAX, i64::MAX].map(Time::from_nanos);
    let folder = Folder::new();
    let mut writer = small_segments().create::<Input>(folder.log()).unwrap();
    record(
        &mut writer,
        times.map(|time| Ok::<_, Unsorted>((time, Halt { symbol: 1 }.into()))),
        1,
    );
    assert_eq!(
        Vec::from_iter(folder.read().0.iter().map(|(time, _)| *time)),
        times
    );
}

#[test]
fn a_log_is_never_created_over_another() {
    let folder = Folder::new();
    drop(Options::new().create::<Input>(folder.log()).unwrap());
    let error = Options::new().create::<Input>(folder.log()).unwrap_err();
    assert_eq!(
        folder.text(error),
        "run.000001.log exists: `append` to that log, or give another path"
    );
}

#[test]
fn logs_with_similar_names_are_apart() {
    let folder = Folder::new();
    for (number, name) in (1..).zip(["run", "run.2", "run.000001", "run.000001.log", "a run"]) {
        let mut writer = Options::new().create::<Input>(folder.file(name)).unwrap();
        record(&mut writer, halts(0..number), 1);
    }
    for (number, name) in (1..).zip(["run", "run.2", "run.000001", "run.000001.log", "a run"]) {
        assert_eq!(
            Reader::<Input>::open(folder.file(name)).unwrap().count(),
            number
        );
    }
}

#[test]
fn a_log_that_does_not_exist_is_an_error_that_says_what_to_give() {
    let folder = Folder::new();
    let text = "there is no log run: no file run.000001.log; give the path without number and ending, or create it";
    assert_eq!(
        folder.text(Reader::<Input>::open(folder.log()).unwrap_err()),
        text
    );
    assert_eq!(
        folder.text(Options::new().append::<Input>(folder.log()).unwrap_err()),
        text
    );
    let error = Options::new()
        .create::<Input>(folder.file("none/run"))
        .unwrap_err();
    assert_eq!(
        folder.text(error),
        "none cannot be used (No such file or directory (os error 2)): \
         give the path of a log in a folder that can be read and written"
    );
}

/// A child has all open files of its parent for a moment, and their locks with them.
#[test]
fn a_process_that_is_started_does_not_keep_a_closed_log() {
    let folder = Folder::new();
    drop(Options::new().create::<Input>(folder.log()).unwrap());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    Command::new("true").status().unwrap();
                }
            });
        }
        let appended = (0..200)
            .map(|_| Options::new().append::<Input>(folder.log()).map(drop))
            .find(Result::is_err);
        done.store(true, Ordering::Relaxed);
        assert!(appended.is_none(), "{appended:?}");
    });
}

#[test]
fn an_appended_log_is_one_log() {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    record(&mut writer, halts(0..10), 3);
    writer.end(Time::from_nanos(12)).unwrap();
    for start in [20, 30] {
        let mut writer = Options::new().append::<Input>(folder.log()).unwrap();
        assert_eq!(writer.position(), writer.recorded());
        record(&mut writer, halts(start..start + 10), 3);
    }
    let (inputs, error) = folder.read();
    assert!(error.is_none());
    let expected = Vec::from_iter(halts(0..10).chain(halts(20..40)).map(Result::unwrap));
    assert_eq!(json(&inputs), json(&expected));
    assert_eq!(
        Reader::<Input>::open(folder.log())
            .unwrap()
            .tail()
            .unwrap()
            .end,
        None
    );
}

#[test]
fn a_torn_frame_is_cut_off_before_the_log_goes_on() {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    record(&mut writer, halts(0..10), 5);
    drop(writer);
    folder.change(&folder.segment(1), |bytes| bytes.truncate(bytes.len() - 1));
    let mut writer = Options::new().append::<Input>(folder.log()).unwrap();
    assert_eq!(writer.position(), 5);
    record(&mut writer, halts(5..10), 5);
    drop(writer);
    let (inputs, error) = folder.read();
    assert!(error.is_none());
    assert_eq!(
        json(&inputs),
        json(&Vec::from_iter(halts(0..10).map(Result::unwrap)))
    );
}

#[test]
fn one_log_has_one_writer() {
    let folder = Folder::new();
    let writer = Options::new().create::<Input>(folder.log()).unwrap();
    let error = Options::new().append::<Input>(folder.log()).unwrap_err();
    assert!(matches!(error, LogError::InUse { .. }));
    assert_eq!(
        folder.text(error),
        "run.000001.log is being written: end the other writer, or give another path"
    );
    drop(writer);
    Options::new().append::<Input>(folder.log()).unwrap();
}

#[test]
fn a_run_that_continues_without_its_log_is_told_once() {
    static TOLD: Mutex<Vec<String>> = Mutex::new(vec![]);
    let folder = Folder::new();
    let on_error = OnError::Continue(|error| TOLD.lock().unwrap().push(error.to_string()));
    let mut writer = Options::new()
        .on_error(on_error)
        .create::<Input>(folder.log())
        .unwrap();
    record(&mut writer, halts(5..10), 1);
    record(&mut writer, halts(0..100), usize::MAX);
    assert!(matches!(writer.flush(), Err(WriteError::Late { .. })));
    assert!(matches!(
        writer.end(Time::MAX),
        Err(WriteError::Late { .. })
    ));
    let told = TOLD.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("record inputs in order of time"),
        "{}",
        told[0]
    );
    // No input after the first that is missing.
    assert_eq!(folder.read().0.len(), 5);
}
