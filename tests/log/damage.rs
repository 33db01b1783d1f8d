//! A log with damage: every input before it is read, and then it is named.

use crate::at;
use crate::market::{Halt, Input, Price, inputs};
use crate::support::{Folder, json, record, small_segments};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use static_bus::log::{LogError, Options, Reader, Tail};
use static_bus::prelude::*;
use static_bus::time::Time;
use std::fs;
use std::path::Path;

/// A log of several segments with an end.
fn log(length: u64, flush_after: usize) -> (Folder, Vec<(Time, Input)>) {
    let folder = Folder::new();
    let mut writer = small_segments().create::<Input>(folder.log()).unwrap();
    let end = at(1_000_000);
    record(&mut writer, inputs(length), flush_after);
    writer.end(end).unwrap();
    (folder, inputs(length).map(Result::unwrap).collect())
}

fn tail(folder: &Folder) -> Tail {
    Reader::<Input>::open(folder.log()).unwrap().tail().unwrap()
}

/// The offsets of the frames in a segment, and its length.
fn frames(file: &Path) -> Vec<usize> {
    let bytes = fs::read(file).unwrap();
    let mut frames = vec![24 + u64::from_le_bytes(bytes[12..20].try_into().unwrap()) as usize];
    while let Some(&last) = frames.last()
        && let Some(length) = bytes[last..].first_chunk()
    {
        frames.push(last + 24 + u32::from_le_bytes(*length) as usize);
    }
    assert_eq!(frames.last(), Some(&bytes.len()));
    frames
}

#[test]
fn a_torn_last_frame_is_cut_with_a_note() {
    let (folder, whole) = log(30, 4);
    let file = folder.segments().pop().unwrap();
    let frames = frames(&file);
    let [.., last, end, length] = frames[..] else {
        panic!("{frames:?}")
    };
    folder.change(&file, |bytes| bytes.truncate(end - 1));
    let Tail {
        position,
        end,
        torn,
        ..
    } = tail(&folder);
    let torn = torn.unwrap();
    assert_eq!(end, None);
    assert_eq!(torn.file, file);
    assert_eq!(
        (torn.offset, torn.bytes),
        (last as u64, (frames[frames.len() - 2] - 1 - last) as u64)
    );
    assert_eq!(
        folder.text(&torn),
        format!(
            "{} ends within a frame: its {} bytes from byte {last} on are not read",
            file.file_name().unwrap().display(),
            torn.bytes
        )
    );
    let (inputs, error) = folder.read();
    assert!(error.is_none());
    assert_eq!(inputs.len() as u64, position);
    assert!(inputs.len() < whole.len());
    assert_eq!(json(&inputs), json(&whole[..inputs.len()]));
    let _ = length;
}

#[test]
fn zeros_that_a_file_system_left_at_the_end_are_a_torn_frame() {
    let (folder, whole) = log(30, 4);
    let file = folder.segments().pop().unwrap();
    let length = fs::metadata(&file).unwrap().len();
    for zeros in [1, 24, 10_000] {
        folder.change(&file, |bytes| bytes.resize(length as usize + zeros, 0));
        let torn = tail(&folder).torn.unwrap();
        assert_eq!((torn.offset, torn.bytes), (length, zeros as u64));
        assert_eq!(folder.read().0.len(), whole.len());
    }
    folder.change(&file, |bytes| bytes.push(1));
    assert!(matches!(folder.read().1, Some(LogError::Corrupt { offset, .. }) if offset == length));
}

#[test]
fn a_flipped_bit_names_the_file_the_offset_and_what_was_expected() {
    let (folder, whole) = log(30, 4);
    let file = folder.segment(2);
    let frame = frames(&file)[1];
    let read_before = folder.read().0.len();
    assert_eq!(read_before, whole.len());
    folder.change(&file, |bytes| bytes[frame + 30] ^= 4);
    let (inputs, error) = folder.read();
    assert!(!inputs.is_empty() && inputs.len() < whole.len());
    assert_eq!(json(&inputs), json(&whole[..inputs.len()]));
    let Some(LogError::Corrupt {
        expected, found, ..
    }) = &error
    else {
        panic!("{error:?}")
    };
    assert_ne!(expected, found);
    let text = format!(
        "run.000002.log is damaged at byte {frame}: the checksum should be {expected:#010x} and is {found:#010x}; \
         restore the file from a copy, or cut it at that byte to read what is before"
    );
    assert_eq!(folder.text(error.unwrap()), text);
}

/// Reads a damaged log; returns the error and the number of inputs, which are those at the beginning of `whole`.
fn read_damaged(folder: &Folder, whole: &[(Time, Input)]) -> (Option<LogError>, usize) {
    let (inputs, error) = folder.read();
    assert_eq!(json(&inputs), json(&whole[..inputs.len()]));
    (error, inputs.len())
}

/// Checks that a cut is an error, or the torn frame at the end of the log.
fn check_cut(folder: &Folder, whole: &[(Time, Input)], file: &Path, length: usize) {
    let frames = frames(file);
    let last = folder.segments().pop().unwrap() == file;
    folder.change(file, |bytes| bytes.truncate(length));
    let (error, read) = read_damaged(folder, whole);
    if error.is_some() {
        return;
    }
    let Tail {
        position,
        end,
        torn,
        ..
    } = tail(folder);
    if !last {
        // Only the mark that another segment follows was cut.
        assert_eq!((length, read), (frames[frames.len() - 2], whole.len()));
        return;
    }
    assert_eq!(read as u64, position);
    assert_eq!(end, None);
    let begin = *frames.iter().rfind(|begin| **begin <= length).unwrap();
    match torn {
        Some(torn) => assert_eq!(
            (torn.offset, torn.bytes),
            (begin as u64, (length - begin) as u64)
        ),
        None => assert_eq!(begin, length),
    }
}

#[test]
fn every_cut_and_every_flipped_bit_of_a_small_log_is_found() {
    let (folder, whole) = log(8, 4);
    let segments = folder.segments();
    assert!(segments.len() > 1);
    for file in segments {
        let bytes = fs::read(&file).unwrap();
        for length in 0..bytes.len() {
            check_cut(&folder, &whole, &file, length);
            fs::write(&file, &bytes).unwrap();
        }
        for bit in 0..bytes.len() * 8 {
            folder.change(&file, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let (error, _) = read_damaged(&folder, &whole);
            assert!(error.is_some(), "bit {bit} of {}", file.display());
            fs::write(&file, &bytes).unwrap();
        }
    }
    assert_eq!(read_damaged(&folder, &whole).1, whole.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_cut_and_any_flipped_bit_of_any_log_is_found(
        length in 1..100_u64,
        flush_after in 1..40_usize,
        segment in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let (folder, whole) = log(length, flush_after);
        let segments = folder.segments();
        let file = segment.get(&segments);
        let bytes = fs::read(file).unwrap();
        let place = place.index(bytes.len());
        folder.change(file, |bytes| bytes[place] ^= 1_u8 << bit);
        prop_assert!(read_damaged(&folder, &whole).0.is_some());
        fs::write(file, &bytes).unwrap();
        check_cut(&folder, &whole, file, place);
    }
}

#[test]
fn a_missing_segment_is_named() {
    for (missing, read) in [(1, false), (2, true)] {
        let (folder, whole) = log(60, 4);
        assert!(folder.segments().len() > 3);
        fs::remove_file(folder.segment(missing)).unwrap();
        let (inputs, error) = folder.read();
        assert!(inputs.is_empty() || read);
        assert!(inputs.len() < whole.len());
        assert_eq!(
            folder.text(error.unwrap()),
            format!(
                "run.{missing:06}.log is missing: restore it, or read from a snapshot after it"
            )
        );
    }
    let (folder, whole) = log(60, 4);
    let last = folder.segments().pop().unwrap();
    fs::remove_file(&last).unwrap();
    let (inputs, error) = folder.read();
    assert!(!inputs.is_empty());
    assert_eq!(json(&inputs), json(&whole[..inputs.len()]));
    assert!(matches!(error, Some(LogError::MissingSegment { file, .. }) if file == last));
}

#[test]
fn a_segment_cut_in_the_middle_of_the_log_is_an_error() {
    let (folder, _) = log(60, 4);
    let file = folder.segment(2);
    let frames = frames(&file);
    let last = frames[frames.len() - 3];
    folder.change(&file, |bytes| bytes.truncate(last + 1));
    assert_eq!(
        folder.text(folder.read().1.unwrap()),
        format!(
            "run.000002.log ends within the frame at byte {last}, but is not the last segment: restore it from a copy"
        )
    );
    folder.change(&file, |bytes| bytes.truncate(last));
    let (inputs, error) = folder.read();
    let Some(LogError::MissingInputs {
        expected, found, ..
    }) = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(inputs.len() as u64, *found);
    let text = format!(
        "run.000003.log needs {expected} inputs before it, and the log has {found}: restore what is missing"
    );
    assert_eq!(folder.text(error.unwrap()), text);
}

#[test]
fn a_segment_of_another_log_is_an_error() {
    let (folder, _) = log(60, 4);
    let (other, _) = log(60, 4);
    fs::copy(other.segment(2), folder.segment(2)).unwrap();
    assert_eq!(
        folder.text(folder.read().1.unwrap()),
        "run.000002.log belongs to another log: restore the one of this log"
    );
    fs::copy(folder.segment(3), folder.segment(2)).unwrap();
    assert!(matches!(folder.read().1, Some(LogError::Foreign { .. })));
}

#[test]
fn another_version_of_the_format_is_named() {
    let (folder, _) = log(5, 4);
    folder.change(&folder.segment(1), |bytes| bytes[8] = 2);
    assert_eq!(
        folder.text(folder.read().1.unwrap()),
        "run.000001.log has version 2 of the format, and this library reads version 1: \
         use the version of static-bus that wrote it"
    );
}

#[test]
fn a_file_that_is_no_log_is_an_error() {
    for bytes in ["", "[1,{\"Halt\":{\"symbol\":0}}]\n"] {
        let folder = Folder::new();
        fs::write(folder.segment(1), bytes).unwrap();
        assert_eq!(
            folder.text(folder.read().1.unwrap()),
            "run.000001.log is no log or snapshot of this kind: its first bytes differ"
        );
    }
}

mod other_messages {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub struct Resume {
        pub symbol: usize,
    }
    event!(Resume);

    mailbox! { #[derive(Serialize, Deserialize)] pub enum Added { event Price, event Halt, event Resume } }
    mailbox! { #[derive(Serialize, Deserialize)] pub enum Between { event Price, event Resume, event Halt } }
    mailbox! { #[derive(Serialize, Deserialize)] pub enum Removed { event Halt } }
    mailbox! { #[derive(Serialize, Deserialize)] pub enum Replaced { event Price, event Resume } }
    mailbox! { #[derive(Serialize, Deserialize)] pub enum Reordered { event Halt, event Price } }
}

#[test]
fn another_set_of_messages_says_what_differs() {
    use other_messages::*;
    let (folder, whole) = log(5, 4);
    let [price, halt, resume] = [Price::NAME, Halt::NAME, Resume::NAME];
    let text = |difference: &str| {
        format!(
            "run.000001.log was recorded with other messages: {difference}; \
             list those of the log first, in its order: {price}, {halt}"
        )
    };
    assert_eq!(
        Reader::<Added>::open(folder.log()).unwrap().count(),
        whole.len()
    );
    let between = Reader::<Between>::open(folder.log()).unwrap_err();
    assert_eq!(
        folder.text(between),
        text(&format!("added {resume}, not at the end"))
    );
    let removed = Reader::<Removed>::open(folder.log()).unwrap_err();
    assert_eq!(folder.text(removed), text(&format!("removed {price}")));
    let replaced = Reader::<Replaced>::open(folder.log()).unwrap_err();
    assert_eq!(
        folder.text(replaced),
        text(&format!("removed {halt}, and added {resume}"))
    );
    let reordered = Options::new()
        .append::<Reordered>(folder.log())
        .unwrap_err();
    assert_eq!(
        folder.text(reordered),
        text(&format!("reordered to {halt}, {price}"))
    );
}

/// The messages of `market`, with other fields under the same names.
mod other_fields {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub struct Price {
        pub symbol: usize,
        pub value: f32,
    }
    event!(Price, name = "price");
    mailbox! { #[derive(Serialize, Deserialize)] pub enum Narrow { event Price } }

    pub mod wide {
        use super::*;
        #[derive(Serialize, Deserialize)]
        pub struct Price {
            pub symbol: usize,
            pub value: f64,
        }
        event!(Price, name = "price");
        mailbox! { #[derive(Serialize, Deserialize)] pub enum Wide { event Price } }
    }
}

#[test]
fn a_message_whose_fields_have_changed_is_an_error() {
    use other_fields::{Narrow, wide};
    let folder = Folder::new();
    let mut writer = Options::new().create::<wide::Wide>(folder.log()).unwrap();
    writer
        .record(
            at(1),
            &wide::Price {
                symbol: 1,
                value: 2.5,
            }
            .into(),
        )
        .unwrap();
    drop(writer);
    let mut reader = Reader::<Narrow>::open(folder.log()).unwrap();
    let error = folder.text(reader.next().unwrap().err().unwrap());
    let offset = frames(&folder.segment(1))[0];
    let start = format!(
        "run.000001.log at byte {offset}, at 1970-01-01T00:00:00.000000001Z, has another type than is read \
         (4 bytes are left of `"
    );
    assert!(error.starts_with(&start), "{error}");
    assert!(reader.next().is_none());
}
