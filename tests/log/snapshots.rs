//! A restart from a snapshot and the rest of the log.

use crate::at;
use crate::market::{Halt, Input, inputs};
use crate::support::{Folder, json, record, small_segments};
use serde::{Deserialize, Serialize, Serializer};
use static_bus::log::{LogError, Options, Reader, Snapshot, SnapshotError, Writer};
use static_bus::prelude::*;
use static_bus::sim::Replay;
use static_bus::time::{Handle, Time, Timeline};
use std::cell::Cell;
use std::fs;

/// A log of 90 inputs, with a snapshot of the number 7 after the first `before`.
fn log_with_snapshot(before: usize) -> (Folder, Vec<(Time, Input)>) {
    let folder = Folder::new();
    let mut writer = small_segments().create::<Input>(folder.log()).unwrap();
    record(&mut writer, inputs(30).take(before), 4);
    writer.snapshot(folder.file("snapshot"), &7_u32).unwrap();
    assert_eq!(writer.recorded(), before as u64);
    record(&mut writer, inputs(30).skip(before), 4);
    drop(writer);
    (folder, inputs(30).map(Result::unwrap).collect())
}

#[test]
fn the_rest_of_a_log_follows_a_snapshot() {
    for before in [0, 1, 3, 4, 5, 37, 40, 89, 90] {
        let (folder, whole) = log_with_snapshot(before);
        let snapshot = Snapshot::<u32>::load(folder.file("snapshot")).unwrap();
        assert_eq!((snapshot.state, snapshot.position), (7, before as u64));
        let last = whole[..before].last().map_or(Time::MIN, |(time, _)| *time);
        assert_eq!(snapshot.time, last);
        let reader = Reader::open_after(folder.log(), &snapshot).unwrap();
        assert_eq!(reader.position(), before as u64);
        let rest = Vec::from_iter(reader.map(Result::<_, LogError>::unwrap));
        assert_eq!(json(&rest), json(&whole[before..]));
    }
}

#[test]
fn segments_before_a_snapshot_may_be_deleted() {
    let (folder, whole) = log_with_snapshot(60);
    let snapshot = Snapshot::<u32>::load(folder.file("snapshot")).unwrap();
    for number in 1.. {
        let reader = Reader::<Input>::open_after(folder.log(), &snapshot);
        let Ok(reader) = reader else {
            // The segment that was deleted last was not before the snapshot.
            let missing = format!(
                "run.{:06}.log is missing: restore it, or read from a snapshot after it",
                number - 1
            );
            assert_eq!(folder.text(reader.unwrap_err()), missing);
            assert!(number > 2);
            break;
        };
        assert_eq!(reader.count(), whole.len() - 60);
        fs::remove_file(folder.segment(number)).unwrap();
    }
}

#[test]
fn a_snapshot_of_another_log_or_of_more_inputs_than_the_log_has_is_an_error() {
    let (folder, _) = log_with_snapshot(90);
    let (other, _) = log_with_snapshot(10);
    let foreign = Snapshot::<u32>::load(other.file("snapshot")).unwrap();
    let error = Reader::<Input>::open_after(folder.log(), &foreign).unwrap_err();
    assert!(matches!(error, LogError::Foreign { .. }));

    let snapshot = Snapshot::<u32>::load(folder.file("snapshot")).unwrap();
    let last = folder.segments().pop().unwrap();
    folder.change(&last, |bytes| bytes.truncate(bytes.len() - 1));
    let error = Reader::<Input>::open_after(folder.log(), &snapshot).unwrap_err();
    let LogError::MissingInputs {
        expected: 90,
        found,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert!(found < 90);
}

#[test]
fn a_damaged_snapshot_is_an_error_whichever_bit_it_is() {
    let (folder, _) = log_with_snapshot(30);
    let file = folder.file("snapshot");
    let bytes = fs::read(&file).unwrap();
    for bit in 0..bytes.len() * 8 {
        folder.change(&file, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        assert!(Snapshot::<u32>::load(&file).is_err());
        fs::write(&file, &bytes).unwrap();
    }
    for length in 0..bytes.len() {
        fs::write(&file, &bytes[..length]).unwrap();
        assert!(Snapshot::<u32>::load(&file).is_err());
    }
    fs::write(&file, &bytes).unwrap();
    folder.change(&file, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let text = folder.text(Snapshot::<u32>::load(&file).unwrap_err());
    assert!(
        text.starts_with("snapshot is damaged at byte 0: the checksum should be 0x"),
        "{text}"
    );
    assert!(text.ends_with("; restore the file from a copy"), "{text}");
    fs::write(&file, &bytes).unwrap();
    let error = Snapshot::<String>::load(&file).unwrap_err();
    assert!(matches!(error, LogError::Malformed { .. }));
    fs::copy(folder.segment(1), &file).unwrap();
    assert_eq!(
        folder.text(Snapshot::<u32>::load(&file).unwrap_err()),
        "snapshot is no log or snapshot of this kind: its first bytes differ"
    );
}

#[derive(Serialize, Deserialize)]
struct Unfit {
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u8>,
}

#[test]
fn a_snapshot_that_is_not_saved_leaves_the_one_before() {
    let (folder, _) = log_with_snapshot(30);
    let mut writer = Options::new().append::<Input>(folder.log()).unwrap();
    let file = folder.file("snapshot");
    let error = writer
        .snapshot(&file, &Unfit { left_out: None })
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`left_out` cannot be saved in a snapshot: it is left out, and what follows would be read in its place; \
         record it without `skip_serializing_if`"
    );
    let error = writer
        .snapshot(folder.file("none/snapshot"), &8_u32)
        .unwrap_err();
    assert!(matches!(error, SnapshotError::Io { .. }));
    assert_eq!(
        folder.text(error),
        "the snapshot none/snapshot cannot be saved (No such file or directory (os error 2)): \
         give a path in a folder with room"
    );
    assert_eq!(Snapshot::<u32>::load(&file).unwrap().state, 7);
    writer
        .record(Time::MAX, &Halt { symbol: 0 }.into())
        .unwrap();
    writer.snapshot(&file, &8_u32).unwrap();
    let snapshot = Snapshot::<u32>::load(&file).unwrap();
    assert_eq!((snapshot.state, snapshot.position), (8, 91));
}

#[derive(Serialize, Deserialize)]
struct Ring(u32);
event!(Ring);
mailbox! { #[derive(Serialize, Deserialize)] enum Timers { event Ring } }

#[derive(Serialize)]
struct State<'a> {
    rings: u32,
    alarm: Handle,
    timeline: &'a Timeline<Timers>,
}
#[derive(Deserialize)]
struct Restored {
    rings: u32,
    alarm: Handle,
    timeline: Timeline<Timers>,
}

#[test]
fn a_timeline_is_restored_with_its_time_its_messages_and_their_handles() {
    let folder = Folder::new();
    let mut writer: Writer<Input> = Options::new().create::<Input>(folder.log()).unwrap();
    writer.record(at(10), &Halt { symbol: 1 }.into()).unwrap();
    let timeline = Timeline::<Timers>::new().shuffle_ties(3);
    let rung = Cell::new(0);
    let bus = BusBuilder::new()
        .subscribe_fn(|ring: &Ring| rung.set(rung.get() * 10 + ring.0))
        .build();
    for number in 1..6 {
        timeline.schedule(at(20), Ring(number));
    }
    let late = timeline.schedule(at(10), Ring(9));
    let alarm = timeline.schedule(at(30), Ring(8));
    timeline.advance_to(at(10), &bus).unwrap();
    assert_eq!(rung.take(), 9);
    let state = State {
        rings: 1,
        alarm,
        timeline: &timeline,
    };
    writer.snapshot(folder.file("snapshot"), &state).unwrap();

    let restored = Snapshot::<Restored>::load(folder.file("snapshot"))
        .unwrap()
        .state;
    let again = restored.timeline;
    assert_eq!(restored.rings, 1);
    assert_eq!((again.now(), again.len()), (at(10), 6));
    assert!(again.cancel(late).is_none());
    assert!(again.cancel(restored.alarm).is_some());
    timeline.cancel(alarm).unwrap();
    let order = [&timeline, &again].map(|timeline| {
        timeline.schedule(at(20), Ring(6));
        timeline.advance_to(at(100), &bus).unwrap();
        rung.take()
    });
    assert!(order[0] > 100_000);
    assert_ne!(order[0], 123_456);
    assert_eq!(order[0], order[1]);
}

/// A state whose `Serialize` fails.
struct Failing;
impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no key"))
    }
}

#[test]
fn a_state_whose_serialization_fails_is_an_error_with_its_text() {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    let error = writer
        .snapshot(folder.file("snapshot"), &Failing)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("cannot be saved in a snapshot: its `Serialize` fails (no key); mend that"),
        "{error}"
    );
}

#[test]
fn a_replay_of_the_rest_needs_no_input_before() {
    let (folder, _) = log_with_snapshot(40);
    let snapshot = Snapshot::<u32>::load(folder.file("snapshot")).unwrap();
    let bus = BusBuilder::new().build();
    let timeline = Timeline::<Input>::starting_at(snapshot.time);
    let rest = Reader::<Input>::open_after(folder.log(), &snapshot).unwrap();
    assert_eq!(
        Replay::new(&bus, &timeline, rest).run().unwrap().events(),
        50
    );
}
