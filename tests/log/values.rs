//! Each value is read as it was recorded, or recording it is an error.

use crate::at;
use crate::support::Folder;
use serde::{Deserialize, Serialize};
use static_bus::log::{Options, Reader, WriteError};
use static_bus::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Serialize, Deserialize)]
pub struct Value {
    unit: (),
    wide: f64,
    narrow: f32,
    nested: Option<Option<u8>>,
    marker: Option<()>,
    large: (i128, u128),
    text: (char, String),
    map: BTreeMap<Option<u8>, Option<Option<()>>>,
    choice: Result<Vec<Value>, Option<f32>>,
}
event!(Value);

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Note {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<u8>,
    list: Vec<u8>,
}
event!(Note);

#[derive(Debug, Serialize, Deserialize)]
pub struct Flat {
    #[serde(flatten)]
    map: BTreeMap<String, u8>,
}
event!(Flat);

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Untagged {
    Number(u8),
}
event!(Untagged);

#[derive(Debug, Serialize, Deserialize)]
pub struct Bytes(Vec<u8>);
event!(Bytes);

mailbox! {
    #[derive(Debug, Serialize, Deserialize)]
    enum Input { event Value, event Note, event Flat, event Untagged, event Bytes }
}

fn value(choice: Result<Vec<Value>, Option<f32>>) -> Value {
    Value {
        unit: (),
        wide: f64::from_bits(0x7ff8_dead_beef_0001),
        narrow: -0.0,
        nested: Some(None),
        marker: Some(()),
        large: (i128::MIN, u128::MAX),
        text: ('\u{10ffff}', "one\ntwo".into()),
        map: BTreeMap::from([
            (None, Some(None)),
            (Some(0), Some(Some(()))),
            (Some(1), None),
        ]),
        choice,
    }
}

#[test]
fn what_json_cannot_hold_is_read_to_the_last_bit() {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    let nested = value(Ok(vec![value(Ok(vec![])), value(Err(Some(f32::INFINITY)))]));
    let input = Input::from(nested);
    writer.record(at(0), &input).unwrap();
    drop(writer);
    let mut reader = Reader::<Input>::open(folder.log()).unwrap();
    let (_, again) = reader.next().unwrap().unwrap();
    assert_eq!(format!("{again:?}"), format!("{input:?}"));
    let Input::Value(again) = again else {
        panic!("not the message written")
    };
    assert_eq!(again.wide.to_bits(), 0x7ff8_dead_beef_0001);
    assert!(again.narrow.is_sign_negative());
}

/// The error of recording an input, after which another one is recorded.
fn refusal(input: impl Into<Input>) -> String {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    let error = writer.record(at(1), &input.into()).unwrap_err();
    assert!(matches!(error, WriteError::Value { .. }));
    writer.record(at(2), &Bytes(vec![3]).into()).unwrap();
    writer.end(at(2)).unwrap();
    let read = Vec::from_iter(
        Reader::<Input>::open(folder.log())
            .unwrap()
            .map(Result::unwrap),
    );
    assert_eq!(
        format!("{read:?}"),
        format!("{:?}", [(at(2), Input::from(Bytes(vec![3])))])
    );
    error.to_string()
}

#[test]
fn a_field_that_is_left_out_is_refused_before_it_is_read_as_another() {
    assert_eq!(
        refusal(Note {
            text: None,
            list: vec![1]
        }),
        "`Note.text` at 1970-01-01T00:00:00.000000001Z cannot be logged: it is left out, and what follows \
         would be read in its place; record it without `skip_serializing_if`"
    );
}

#[test]
fn a_list_without_a_length_is_refused() {
    assert_eq!(
        refusal(Flat {
            map: BTreeMap::new()
        }),
        "`Flat` at 1970-01-01T00:00:00.000000001Z cannot be logged: its length is not known when it begins; \
         record a list, and use no `flatten`"
    );
}

#[test]
fn what_cannot_be_read_back_ends_the_recording_and_what_was_before_is_in_the_log() {
    let folder = Folder::new();
    let mut writer = Options::new().create::<Input>(folder.log()).unwrap();
    writer.record(at(1), &Bytes(vec![3]).into()).unwrap();
    writer.record(at(2), &Untagged::Number(1).into()).unwrap();
    let error = writer.flush().unwrap_err();
    assert!(matches!(error, WriteError::Unreadable { position: 1, .. }));
    let text = error.to_string();
    assert!(
        text.starts_with("input 1 of the log cannot be read back (`"),
        "{text}"
    );
    assert!(text.ends_with(
        "use no serde attribute that needs the names of fields, such as `untagged` and `tag`"
    ));
    assert_eq!(writer.recorded(), 1);
    assert_eq!(
        writer
            .record(at(3), &Bytes(vec![]).into())
            .unwrap_err()
            .to_string(),
        text
    );
    assert_eq!(writer.end(at(3)).unwrap_err().to_string(), text);
    assert_eq!(Reader::<Input>::open(folder.log()).unwrap().count(), 1);
}

#[test]
fn an_input_larger_than_all_buffers_is_recorded() {
    let folder = Folder::new();
    let mut writer = Options::new()
        .segment_bytes(1_000_000)
        .create::<Input>(folder.log())
        .unwrap();
    let lengths = [0, 1, 300, 5_000_000, 70_000, 3_000_000, 2];
    for length in lengths {
        writer
            .record(at(0), &Bytes(vec![7; length]).into())
            .unwrap();
    }
    writer.end(at(0)).unwrap();
    let read = Reader::<Input>::open(folder.log()).unwrap();
    let read = read.map(|input| match input {
        Ok((_, Input::Bytes(Bytes(bytes)))) => bytes.len(),
        other => panic!("not the message written: {other:?}"),
    });
    assert_eq!(Vec::from_iter(read), lengths);
}
