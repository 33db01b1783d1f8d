//! A log after an error or a panic: nothing is lost, and nothing is written twice.

use crate::at;
use crate::json::log_of;
use crate::market::{Input, inputs, journal_of, whole_journal_of};
use serde::{Serialize, Serializer};
use static_bus::log::json::{ReadError, RecordError, read, record};
use static_bus::sim::{ReplayError, Unsorted};
use static_bus::time::{Time, Timeline};
use std::cell::Cell;
use std::io::{self, BufRead, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A writer that takes `step` bytes at a time and fails once, after `room` bytes.
struct Faulty {
    bytes: Vec<u8>,
    step: usize,
    room: usize,
    fault: Option<fn() -> io::Result<usize>>,
}
impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = match self.fault {
            Some(_) => self.room - self.bytes.len(),
            None => usize::MAX,
        };
        if room == 0 {
            return self.fault.take().unwrap()();
        }
        let bytes = &bytes[..bytes.len().min(self.step).min(room)];
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Calls `next` until there is nothing more; returns the items, and the errors that it returned.
fn drain<T, E>(mut next: impl FnMut() -> Option<Result<T, E>>) -> (Vec<T>, Vec<E>) {
    let (mut items, mut errors) = (vec![], vec![]);
    while let Some(result) = next() {
        match result {
            Ok(item) => items.push(item),
            Err(error) => errors.push(error),
        }
        assert!(errors.len() < 9, "the error repeats");
    }
    (items, errors)
}

fn times<M>(inputs: &[(Time, M)]) -> Vec<Time> {
    inputs.iter().map(|(time, _)| *time).collect()
}

#[test]
fn after_a_failed_write_at_any_byte_the_log_and_the_inputs_continue() {
    let whole = Vec::from_iter(inputs(2).map(Result::unwrap));
    let log = log_of(inputs(2));
    let full: fn() -> io::Result<usize> = || Err(io::ErrorKind::StorageFull.into());
    let faults: [(fn() -> io::Result<usize>, usize); _] = [
        (full, 1),
        (|| Ok(0), 1),
        (|| Err(io::ErrorKind::Interrupted.into()), 0),
    ];
    for (fault, errors_expected) in faults {
        for (step, room) in [1, 7, 1_000]
            .into_iter()
            .flat_map(|step| (0..log.len()).map(move |room| (step, room)))
        {
            let mut writer = Faulty {
                bytes: vec![],
                step,
                room,
                fault: Some(fault),
            };
            let mut recorded = record(inputs(2), &mut writer);
            let (items, errors) = drain(|| recorded.next());
            assert!(
                errors
                    .iter()
                    .all(|error| matches!(error, RecordError::Write(_)))
            );
            assert_eq!(errors.len(), errors_expected);
            assert_eq!(times(&items), times(&whole));
            assert_eq!(writer.bytes, log);
        }
    }
}

#[test]
fn a_replay_into_a_full_log_continues_when_there_is_room() {
    let expected = whole_journal_of(&Timeline::new(), inputs(100));
    let mut writer = Faulty {
        bytes: vec![],
        step: 1_000,
        room: 1_000,
        fault: Some(|| Err(io::ErrorKind::StorageFull.into())),
    };
    let journal = journal_of(
        &Timeline::new(),
        record(inputs(100), &mut writer),
        |replay| {
            let error = replay.run().unwrap_err();
            assert_eq!(
                error.to_string(),
                "the log cannot be written (no storage space): give it a writer with room, and continue"
            );
            assert!(matches!(error, ReplayError::Input(RecordError::Write(_))));
            replay.run().unwrap();
        },
    );
    assert_eq!(journal, expected);
    assert_eq!(
        whole_journal_of(&Timeline::new(), read(&writer.bytes[..])),
        expected
    );
}

#[test]
fn a_failed_flush_is_repeated_and_an_ended_log_stays_ended() {
    struct Clogged(u32);
    impl Write for Clogged {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0 -= 1;
            if self.0 > 0 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }
    }
    let mut recorded = record(inputs(1), Clogged(3));
    let (items, errors) = drain(|| recorded.next());
    assert_eq!((items.len(), errors.len()), (3, 2));
    assert!(recorded.next().is_none());
}

/// An input whose serialization panics once, when it has begun.
struct Flaky<'a>(u32, &'a Cell<bool>);
impl Serialize for Flaky<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Fuse<'a>(&'a Cell<bool>);
        impl Serialize for Fuse<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if self.0.take() {
                    resume_unwind(Box::new("flaky"));
                }
                serializer.serialize_unit()
            }
        }
        (self.0, Fuse(self.1)).serialize(serializer)
    }
}

/// `next`, called again if it panics.
fn despite_a_panic<T>(mut next: impl FnMut() -> T) -> T {
    catch_unwind(AssertUnwindSafe(&mut next)).unwrap_or_else(|_| next())
}

#[test]
fn no_input_is_lost_when_its_serialization_panics() {
    let fuse = Cell::new(false);
    let mut log = vec![];
    let inputs = (0..3).map(|n| Ok::<_, Unsorted>((at(n.into()), Flaky(n, &fuse))));
    let mut recorded = record(inputs, &mut log);
    let (items, _) = drain(|| {
        fuse.set(true);
        despite_a_panic(|| recorded.next())
    });
    assert_eq!(times(&items), [0, 1, 2].map(at));
    assert_eq!(log, b"[0,[0,null]]\n[1,[1,null]]\n[2,[2,null]]\n");
}

/// A reader that returns a few bytes at a time and fails once, after some bytes.
struct Torn<'a> {
    rest: &'a [u8],
    step: usize,
    until_fault: usize,
    fault: Option<fn() -> io::Error>,
}
impl Read for Torn<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(into)?;
        self.consume(length);
        Ok(length)
    }
}
impl BufRead for Torn<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.until_fault == 0
            && let Some(fault) = self.fault.take()
        {
            return Err(fault());
        }
        let room = if self.fault.is_some() {
            self.until_fault
        } else {
            usize::MAX
        };
        Ok(&self.rest[..self.rest.len().min(self.step).min(room)])
    }
    fn consume(&mut self, length: usize) {
        self.rest = &self.rest[length..];
        self.until_fault = self.until_fault.saturating_sub(length);
    }
}

#[test]
fn after_a_failed_read_at_any_byte_the_next_call_continues() {
    let mut log = [b"\n".to_vec(), log_of(inputs(2))].concat();
    log.pop(); // a last line may lack its end
    let whole = times(
        &read::<Input, _>(&log[..])
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
    );
    assert_eq!(whole.len(), 6);
    let faults: [(fn() -> io::Error, usize); _] = [
        (|| io::ErrorKind::TimedOut.into(), 1),
        (|| resume_unwind(Box::new("torn")), 0),
    ];
    for (fault, errors_expected) in faults {
        for (step, until_fault) in [1, 7, 1_000]
            .into_iter()
            .flat_map(|step| (0..=log.len()).map(move |at| (step, at)))
        {
            let mut inputs = read::<Input, _>(Torn {
                rest: &log,
                step,
                until_fault,
                fault: Some(fault),
            });
            let (items, errors) = drain(|| despite_a_panic(|| inputs.next()));
            assert_eq!(times(&items), whole, "a fault after {until_fault} bytes");
            assert_eq!(errors.len(), errors_expected);
            let line = 1 + log[..until_fault]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            assert!(
                errors
                    .iter()
                    .all(|error| matches!(error, ReadError::Io { line: at, .. } if *at == line)),
                "{errors:?} {line}"
            );
        }
    }
}
