//! The record format, byte by byte.

use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, AsyncSendQuery, BusError},
    prelude::*,
};
use static_bus_remote::{
    Codec, Envelope, EnvelopeError, Headers, RemoteBus, Transport, Worker,
    transport::{Kind, Record},
};

use crate::support::{TestBroker, append, connect, dead_lettered, quick, record, until};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Place {
    user: u32,
    lines: Vec<Line>,
    note: Option<String>,
}
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Line {
    book: String,
    price: f64,
}
command!(Place, name = "orders.place", key = user);

#[derive(Serialize, Deserialize)]
struct Halve(u32);
query!(Halve -> f64, name = "test.halve");

fn order() -> Place {
    let line = Line {
        book: "Emma\n".into(),
        price: 0.1,
    };
    Place {
        user: 7,
        lines: vec![line],
        note: None,
    }
}

const FULL: &str = "\
specversion: 1.0
id: 0199a3c5-5f6b-7e4b-8d11-0c9a6f7b2d10
source: shop
type: orders.place
time: 2026-11-24T10:00:00Z
datacontenttype: application/json
partitionkey: user 7
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
tracestate: congo=t61rcWkgMzE
correlationid: 0199a3c5-0000-7e4b-8d11-0c9a6f7b2d10
causationid: 0199a3c5-1111-7e4b-8d11-0c9a6f7b2d10
idempotencykey: order 50%250A
replyto: 0199a3c5-2222-7e4b-8d11-0c9a6f7b2d10
onlyfor: inventory
deadline: 2026-11-24T10:00:05.25Z
attempt: 2
";

const MINIMAL: &str = "\
specversion: 1.0
id: 0199a3c5-5f6b-7e4b-8d11-0c9a6f7b2d10
source: shop
type: orders.place
time: 2026-11-24T10:00:00Z
datacontenttype: application/json
";

fn minimal() -> Envelope<'static> {
    let mut envelope = Envelope::new("shop", "orders.place", "application/json");
    envelope.id = "0199a3c5-5f6b-7e4b-8d11-0c9a6f7b2d10".into();
    envelope.time = "2026-11-24T10:00:00Z".into();
    envelope
}

fn full() -> Envelope<'static> {
    let mut envelope = minimal();
    envelope.partition_key = Some("user 7".into());
    envelope.trace_parent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    envelope.trace_state = Some("congo=t61rcWkgMzE".into());
    envelope.correlation_id = Some("0199a3c5-0000-7e4b-8d11-0c9a6f7b2d10".into());
    envelope.causation_id = Some("0199a3c5-1111-7e4b-8d11-0c9a6f7b2d10".into());
    envelope.idempotency_key = Some("order 50%0A".into());
    envelope.reply_to = Some("0199a3c5-2222-7e4b-8d11-0c9a6f7b2d10".into());
    envelope.only_for = Some("inventory".into());
    envelope.deadline = Some("2026-11-24T10:00:05.25Z".parse().unwrap());
    envelope.attempt = 2;
    envelope
}

#[test]
fn an_envelope_is_written_and_read_as_it_ever_was() {
    for (envelope, text) in [(minimal(), MINIMAL), (full(), FULL)] {
        assert_eq!(envelope.headers().as_str(), text);
        let headers = Headers::parse(text.to_owned()).unwrap();
        assert_eq!(Envelope::parse(&headers).unwrap(), envelope);
    }
}

#[test]
fn bodies_are_written_and_read_as_they_ever_were() {
    const JSON: &[u8] = br#"{"user":7,"lines":[{"book":"Emma\n","price":0.1}],"note":null}"#;
    const MESSAGE_PACK: &[u8] = b"\x83\xa4user\x07\xa5lines\x91\x82\xa4book\xa5Emma\n\xa5price\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xa4note\xc0";
    for (codec, content_type, bytes) in [
        (Codec::Json, "application/json", JSON),
        (Codec::MessagePack, "application/msgpack", MESSAGE_PACK),
    ] {
        assert_eq!(codec.content_type(), content_type);
        assert_eq!(Codec::of(content_type).unwrap(), codec);
        assert_eq!(codec.encode(&order()).unwrap(), bytes);
        assert_eq!(codec.decode::<Place>(bytes).unwrap(), order());
    }
    let error = Codec::of("text/plain").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no codec reads the content type \"text/plain\""
    );
}

/// The attributes, with ids, times and addresses replaced.
fn blotted(headers: &Headers) -> String {
    let moment = |value: &str| {
        uuid::Uuid::parse_str(value).is_ok() || value.parse::<jiff::Timestamp>().is_ok()
    };
    let blot = |line: &str| match line.split_once(": ") {
        Some((name, value)) if moment(value) => format!("{name}: …\n"),
        _ => format!("{line}\n"),
    };
    headers.as_str().lines().map(blot).collect()
}

fn assert_new(headers: &Headers, since: jiff::Timestamp) {
    let id = uuid::Uuid::parse_str(&headers.get("id").unwrap()).unwrap();
    assert_eq!(id.get_version_num(), 7);
    let (seconds, _) = id.get_timestamp().unwrap().to_unix();
    assert!(seconds.abs_diff(since.as_second() as u64) < 60);
    let time = headers.get("time").unwrap();
    assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    let time: jiff::Timestamp = time.parse().unwrap();
    assert!(since <= time && time <= jiff::Timestamp::now());
}

#[tokio::test(start_paused = true)]
async fn a_command_leaves_as_it_ever_did() {
    let broker = TestBroker::new();
    let since = jiff::Timestamp::now();
    let remote = connect(&broker).await;
    remote
        .with_idempotency_key("order 1")
        .execute_async(order())
        .await
        .unwrap();
    let sent = broker.only(Kind::Command);
    assert_new(&sent.headers, since);
    assert_eq!(
        blotted(&sent.headers),
        "specversion: 1.0\nid: …\nsource: shop\ntype: orders.place\ntime: …\n\
         datacontenttype: application/json\npartitionkey: 7\nidempotencykey: order 1\n"
    );
    assert_eq!(
        sent.body,
        r#"{"user":7,"lines":[{"book":"Emma\n","price":0.1}],"note":null}"#
    );
    assert_eq!((sent.key.as_deref(), sent.expires), (Some("7"), None));
}

#[tokio::test(start_paused = true)]
async fn a_query_has_its_attributes_and_an_answer_those_that_its_receiver_reads() {
    let broker = TestBroker::new();
    let since = jiff::Timestamp::now();
    let bus = BusBuilder::new()
        .register_query_async_fn(|query: Halve| async move {
            match query.0 {
                0 => Err(BusError::rejected::<Halve>("nothing\nto halve")),
                n => Ok(f64::from(n) / 2.0),
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Halve>();
    let worker = worker.start().await.unwrap();
    let remote = RemoteBus::builder(broker.clone())
        .service("shop")
        .codec(Codec::MessagePack)
        .timeout(Duration::from_secs(5))
        .connect()
        .await
        .unwrap()
        .with_trace("00-1-2-01", Some("a=b".into()));
    assert_eq!(remote.send_async(Halve(3)).await.unwrap(), 1.5);
    assert!(remote.send_async(Halve(0)).await.is_err());
    let stranger = record("test.stranger", "1", |envelope| {
        envelope.id = "0199a3c5-5f6b-7e4b-8d11-0c9a6f7b2d10".into();
        envelope.reply_to = Some("0199a3c5-2222-7e4b-8d11-0c9a6f7b2d10".into());
        envelope.correlation_id = Some("begin".into());
    });
    append(&broker, Kind::Query, "test.halve", stranger).await;
    until("there are three answers", async || {
        broker.appended(Kind::Reply).len() == 3
    })
    .await;

    let query = broker.appended(Kind::Query).remove(0);
    assert_new(&query.headers, since);
    assert_eq!(
        blotted(&query.headers),
        "specversion: 1.0\nid: …\nsource: shop\ntype: test.halve\ntime: …\n\
         datacontenttype: application/msgpack\ntraceparent: 00-1-2-01\ntracestate: a=b\n\
         replyto: …\ndeadline: …\n"
    );
    assert_eq!(query.body, &b"\x03"[..]);
    assert_eq!(query.expires, Some(Duration::from_secs(5)));
    let deadline: jiff::Timestamp = query.headers.get("deadline").unwrap().parse().unwrap();
    let left = deadline.duration_since(since).unsigned_abs();
    assert!(left >= Duration::from_secs(5) && left < Duration::from_secs(60));

    let [answered, failed, none] = &broker.appended(Kind::Reply)[..] else {
        panic!("three answers")
    };
    assert_eq!(
        blotted(&answered.headers),
        "causationid: …\nstatus: answered\ndatacontenttype: application/msgpack\n"
    );
    assert_eq!(answered.body, &b"\xcb\x3f\xf8\0\0\0\0\0\0"[..]);
    assert_eq!(
        blotted(&failed.headers),
        "causationid: …\nstatus: failed\n\
         error: test.halve: its handler failed: nothing%0Ato halve\nretryable: true\n"
    );
    assert_eq!(failed.body, "");
    assert_eq!(
        blotted(&none.headers),
        "causationid: …\nstatus: nohandler\n"
    );
    for reply in [answered, failed, none] {
        assert!(reply.expires.is_some());
    }
    assert_eq!(answered.headers.get("causationid"), query.headers.get("id"));
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_written_as_it_ever_was() {
    let broker = TestBroker::new();
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: Place| async {
            Err(BusError::rejected::<Place>("sold out"))
        })
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Place>()
        .service("orders")
        .retries(quick(2));
    let worker = worker.start().await.unwrap();
    let sent = Record {
        headers: full().headers().clone(),
        body: r#"{"user":7,"lines":[],"note":"ü"}"#.into(),
        key: Some("user 7".into()),
        ..Record::default()
    };
    // It is not for another group. Its deadline has passed, which has no effect: no caller waits.
    let mut envelope = full();
    envelope.only_for = None;
    let headers = envelope.headers();
    let sent = Record { headers, ..sent };
    append(&broker, Kind::Command, "orders.place", sent.clone()).await;
    dead_lettered(&broker, 1).await;
    let dead = broker.only(Kind::DeadLetter);
    let escaped = sent
        .headers
        .as_str()
        .replace('%', "%25")
        .replace('\n', "%0A");
    assert_eq!(
        blotted(&dead.headers),
        format!(
            "origin: command orders.place\ngroup: handlers\nservice: orders\nmember: {}\n\
             attempts: 2\nerror: orders.place: its handler failed: sold out\n\
             firstfailure: …\nlastfailure: …\nkey: user 7\nheaders: {escaped}\n",
            worker.member()
        )
    );
    assert_eq!(dead.body, sent.body);
    assert_eq!((dead.key, dead.expires), (None, None));
    let id = worker.member().strip_prefix("orders-");
    assert!(id.is_some_and(|id| id.parse::<uuid::Uuid>().is_ok()));
    drop(worker);
}

#[test]
fn attributes_that_nobody_knows_are_left_alone() {
    let text = format!("{MINIMAL}dataschema: v7\nfarbe: gr%250Aün\n");
    let headers = Headers::parse(text.clone()).unwrap();
    let mut envelope = minimal();
    let custom = [("dataschema", "v7"), ("farbe", "gr%0Aün")];
    envelope.custom = custom
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    assert_eq!(Envelope::parse(&headers).unwrap(), envelope);
    assert_eq!(envelope.headers(), headers);
    assert_eq!(envelope.into_owned().header("farbe"), Some("gr%0Aün"));
    assert_eq!(headers.as_str(), text);
    assert_eq!(headers.get("farbe").as_deref(), Some("gr%0Aün"));
    assert_eq!(headers.get("schema"), None);
}

#[test]
fn an_attribute_that_is_missing_or_cannot_be_read_is_named() {
    for name in ["specversion", "id", "source", "type", "datacontenttype"] {
        let without = |line: &&str| !line.starts_with(&format!("{name}: "));
        let text: String = MINIMAL.split_inclusive('\n').filter(without).collect();
        let headers = Headers::parse(text).unwrap();
        let error = Envelope::parse(&headers).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the attribute `{name}` is missing or cannot be read")
        );
    }
    for (line, name) in [
        ("deadline: tomorrow\n", "deadline"),
        ("attempt: -1\n", "attempt"),
        ("attempt: many\n", "attempt"),
    ] {
        let headers = Headers::parse(format!("{MINIMAL}{line}")).unwrap();
        assert_eq!(Envelope::parse(&headers), Err(EnvelopeError(name)));
    }
    let newer = MINIMAL.replace("specversion: 1.0", "specversion: 2.0");
    let headers = Headers::parse(newer).unwrap();
    assert_eq!(Envelope::parse(&headers), Err(EnvelopeError("specversion")));
}

#[test]
fn text_that_is_not_attributes_is_given_back() {
    for text in [
        "a",
        "a: b",
        "a:b\n",
        ": b\n",
        "A: b\n",
        "a: b\n\n",
        "a: b\nc\n",
    ] {
        assert_eq!(Headers::parse(text.to_owned()), Err(text.to_owned()));
    }
    assert_eq!(Headers::parse(String::new()), Ok(Headers::default()));
}

#[test]
fn an_engine_says_where_it_is() {
    assert_eq!(TestBroker::new().address(), "test://broker");
}

proptest! {
    #[test]
    fn attributes_survive_whatever_their_values_are(
        values in proptest::collection::vec("(\\PC|[%\r\n0-9ADa: ]|%0A|%0D|%25){0,20}", 0..5)
    ) {
        let mut headers = Headers::default();
        for (i, value) in values.iter().enumerate() {
            headers.push(&format!("name{i}"), value);
        }
        prop_assert_eq!(headers.as_str().lines().count(), values.len());
        let read = Headers::parse(headers.as_str().to_owned()).unwrap();
        prop_assert_eq!(&read, &headers);
        let found: Vec<_> = read.iter().map(|(_, value)| value.into_owned()).collect();
        prop_assert_eq!(&found, &values);
        // Also as one of several values, as in a dead letter.
        let outer = Headers::from_iter([("headers", headers.as_str())]);
        prop_assert_eq!(&*outer.get("headers").unwrap(), headers.as_str());
    }

    #[test]
    fn an_envelope_survives_whatever_it_says(
        text in proptest::collection::vec("(\\PC|[%\r\n]){1,20}", 10),
        attempt: u32,
        seconds in 0..10_000_000_000_i64,
    ) {
        let value = |i: usize| std::borrow::Cow::Owned(text[i].clone());
        let mut envelope = Envelope::new(value(0), value(1), value(2));
        envelope.partition_key = Some(value(3));
        envelope.trace_parent = Some(value(4));
        envelope.trace_state = Some(value(5));
        envelope.correlation_id = Some(value(6));
        envelope.causation_id = Some(value(7));
        envelope.idempotency_key = Some(value(8));
        envelope.reply_to = Some(value(9));
        envelope.deadline = Some(jiff::Timestamp::from_second(seconds).unwrap());
        envelope.attempt = attempt;
        let headers = envelope.headers();
        prop_assert_eq!(Envelope::parse(&headers).unwrap(), envelope.clone());
        prop_assert_eq!(Envelope::parse(&headers).unwrap().into_owned(), envelope);
    }
}
