//! Records are received as they were appended.

use std::panic;

use bytes::Bytes;

use super::support::{
    Dice, append, connect, ids, join, keyed, list, must, read, record, topic, within,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::{
    Headers,
    transport::{Kind, Record, Transport, key_from_bytes},
};

/// Body, headers and key are received as they were appended: an empty body, a body of 1 MB, every value of a byte,
/// header values of several lines and in several scripts, a name that occurs twice.
///
/// Fails for an engine that decodes bodies as text, that writes headers in a format of lines, or that drops empty
/// values.
pub async fn a_record_arrives_as_it_was_appended<H: Harness>(harness: &H) -> Outcome {
    let (here, there) = (connect(harness).await, connect(harness).await);
    must("check", here.check()).await;
    for kind in [Kind::Command, Kind::Event, Kind::Query, Kind::Reply] {
        let topic = topic(kind, "payload");
        let reader = read(&there, &topic, "reader").await;
        for (what, appended) in awkward_records() {
            append(&here, &topic, [appended.clone()]).await;
            let got = reader.take(1).await;
            let what = format!("{what} ({})", kind.as_str());
            assert_same(&what, &appended, &got[0]);
        }
    }
    Ok(())
}

/// An append returns one result for each record, also for records of several topics, and keeps the order of each
/// topic; where partitions are shared, the order of each key.
///
/// Fails for an engine that sorts records by topic and returns the results in that order, or that sends in parallel.
pub async fn each_record_of_an_append_has_its_result<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topics = ["one", "two", "three"].map(|name| topic(Kind::Command, name));
    let none = within("append of nothing", transport.append(Vec::new())).await;
    assert!(none.is_empty(), "no record has {} results", none.len());

    let numbered = |n| match transport.sharing() {
        Sharing::Partitions => keyed(n, "one"),
        _ => record(n),
    };
    let all: Vec<_> = (0..1_000)
        .map(|n| (topics[n % 3].clone(), numbered(n)))
        .collect();
    let results = within("append", transport.append(all)).await;
    assert_eq!(results.len(), 1_000, "one result for each record");
    for (n, result) in results.into_iter().enumerate() {
        result.unwrap_or_else(|error| panic!("record {n}: {error}"));
    }

    for (n, topic) in topics.iter().enumerate() {
        let member = join(&transport, topic, "handlers", "reader").await;
        let expected: Vec<_> = (n..1_000).step_by(3).collect();
        let got = member.take(expected.len()).await;
        let got = ids(&got);
        assert!(
            got == expected,
            "topic {} is out of order: {}",
            topic.name,
            list(got)
        );
    }
    Ok(())
}

/// Asserts that two records are equal. The text of a failure has no body.
pub(super) fn assert_same(what: &str, appended: &Record, arrived: &Record) {
    assert_eq!(arrived.headers, appended.headers, "{what}: headers");
    assert_eq!(arrived.key, appended.key, "{what}: key");
    let at = appended
        .body
        .iter()
        .zip(arrived.body.iter())
        .position(|(a, b)| a != b);
    assert!(
        at.is_none() && arrived.body.len() == appended.body.len(),
        "{what}: the body is {} bytes instead of {}, and differs from byte {} on",
        arrived.body.len(),
        appended.body.len(),
        at.unwrap_or(arrived.body.len().min(appended.body.len()))
    );
}

pub(super) fn awkward_records() -> Vec<(&'static str, Record)> {
    let mut dice = Dice::new(0);
    let megabyte: Vec<u8> = (0..1 << 20).map(|_| dice.below(256) as u8).collect();
    let body = |body: Bytes| Record { body, ..record(0) };
    let headers = |pairs: &[(&str, &str)]| Record {
        headers: pairs.iter().copied().collect::<Headers>(),
        ..record(0)
    };
    let key = |key: &str| Record {
        key: Some(key.into()),
        ..record(0)
    };
    vec![
        ("an empty body", body(Bytes::new())),
        ("nothing but a body", headers(&[])),
        ("nothing at all", Record::default()),
        ("every byte", body((0..=255).collect())),
        ("1 MB", body(megabyte.into())),
        ("a body of line feeds", body("\r\n\r\n\n".into())),
        (
            "headers of several lines",
            headers(&[("note", "one\ntwo\r\nthree\n"), ("last", "100 %0A %25\r")]),
        ),
        (
            "headers in any script",
            headers(&[("name", "Zoë Καλημέρα 東京 🚌"), ("sign", ": =;,\"'\\\0\t")]),
        ),
        (
            "empty and repeated headers",
            headers(&[
                ("empty", ""),
                ("twice", "1"),
                ("twice", "2"),
                ("blank", " "),
            ]),
        ),
        ("a key", key("customer-7")),
        ("an empty key", key("")),
        ("an awkward key", key("é:{b}\n%7 🔑")),
        (
            "a key that is not text",
            key(&key_from_bytes(b"7\xFF\n\x80")),
        ),
    ]
}
