//! The sizes of dead letters, and keys of any bytes.

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, BusError},
    prelude::*,
};
use static_bus_remote::{
    DeadLetters, MemoryBroker, TransportErrorKind, Worker,
    transport::{Kind, Record, key_from_bytes, key_to_bytes},
};

use crate::support::{
    LONG, Op, Tell, TestBroker, append, connect, dead_lettered, letters, listen, record, settled,
};

/// A command with an ordering key, of any size.
#[derive(Serialize, Deserialize)]
struct Load {
    key: u32,
    text: String,
}
command!(Load, name = "test.load", key = key);

const LOAD: &str = "test.load";
const LIMIT: usize = 64 * 1024;

fn limited() -> TestBroker {
    TestBroker::around(MemoryBroker::builder().max_record(LIMIT).build())
}

/// A bus whose handler refuses the texts that are not empty, with this error.
fn loading(error: &str, tell: Tell<usize>) -> impl AsyncExecuteCommand<Load> + Send + 'static {
    let error = error.to_owned();
    BusBuilder::new()
        .register_command_async_fn(move |load: Load| {
            tell.send(load.text.len()).unwrap();
            let error = error.clone();
            async move {
                match load.text.is_empty() {
                    true => Ok(()),
                    false => Err(BusError::refused::<Load>(error)),
                }
            }
        })
        .build()
}

/// Sends a command of this size, and one behind it with the same key.
async fn load(broker: &TestBroker, len: usize) {
    let remote = connect(broker).await;
    for len in [len, 0] {
        let text = "x".repeat(len);
        remote.execute_async(Load { key: 7, text }).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_just_under_the_limit_becomes_a_complete_dead_letter_with_its_error_cut() {
    const ALMOST: usize = LIMIT - 1024;
    let (broker, (tell, mut heard)) = (limited(), listen());
    let error = "ß".repeat(1 << 20);
    let worker = Worker::new(broker.clone(), loading(&error, tell)).command::<Load>();
    let worker = worker.start().await.unwrap();
    load(&broker, ALMOST).await;
    assert_eq!(heard.take(2).await, [ALMOST, 0], "its key goes on");
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(
        (letter.omitted, letter.record.body.len() > ALMOST),
        (0, true)
    );
    let cut = format!("ßß… (cut: 4095 of {} bytes)", 31 + error.len());
    assert!(
        letter
            .error
            .starts_with("test.load: its handler failed: ßß")
    );
    assert!(letter.error.ends_with(&cut), "{}", letter.error);
    assert_eq!(letter.error.len(), 4095 - "ßß".len() + cut.len());
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_too_large_is_written_without_the_body_and_says_so() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    broker.fail(
        Op::Append(Kind::DeadLetter),
        TransportErrorKind::TooLarge,
        1,
    );
    let worker = Worker::new(broker.clone(), loading("no", tell)).command::<Load>();
    let worker = worker.start().await.unwrap();
    load(&broker, 1000).await;
    assert_eq!(heard.take(2).await, [1000, 0], "its key goes on");
    let letter = dead_lettered(&broker, 1).await.remove(0);
    let sent = broker.appended(Kind::Command).remove(0);
    assert_eq!(letter.omitted, sent.body.len());
    let body = Default::default();
    assert_eq!(letter.record, Record { body, ..sent });

    let error = DeadLetters::of(broker.clone()).replay(&letter).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "test://broker: the dead letter {} of command test.load cannot be replayed: {} bytes of the message \
             were too large to be stored with it; send the message again, and discard the dead letter",
            letter.position, letter.omitted
        )
    );
    assert_eq!(letters(&broker).await.len(), 1, "it is still there");
    assert_eq!(worker.health().await.reasons, [""; 0]);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_whose_attributes_are_too_large_is_written_without_the_message() {
    let (broker, (tell, mut heard)) = (limited(), listen());
    // Two bytes of each character are added to the record, and four to its dead letter.
    let large = record(LOAD, r#"{"key":7,"text":"x"}"#, |envelope| {
        envelope.trace_state = Some("%".repeat(LIMIT / 3 - 500).into());
        envelope.partition_key = Some("7".into());
    });
    let large = Record {
        key: Some("7".into()),
        ..large
    };
    append(&broker, Kind::Command, LOAD, large.clone()).await;
    load(&broker, 0).await;
    // After a restart as well.
    for _ in 0..2 {
        let worker = Worker::new(broker.clone(), loading("no", tell.clone())).command::<Load>();
        let worker = worker.start().await.unwrap();
        settled(&broker, Kind::Command, LOAD, "handlers").await;
        worker.shutdown(LONG).await;
    }
    assert_eq!(heard.rest(), [1, 0, 0], "its key goes on");
    let letter = letters(&broker).await.remove(0);
    assert_eq!(letter.record, Record::default());
    let whole = large.headers.as_str().len() + large.body.len() + "7".len();
    assert_eq!(letter.omitted, whole);
    assert_eq!(letter.error, "test.load: its handler failed: no");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_text_survives_a_dead_letter_and_its_replay() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let worker = Worker::new(broker.clone(), loading("no", tell)).command::<Load>();
    let worker = worker.start().await.unwrap();
    let all: Vec<u8> = (0..=255).rev().collect();
    let placeholder = "\u{10FFC3}\u{10FFA9}%\n";
    let dead = DeadLetters::of(broker.clone());
    for bytes in [
        &all[..],
        b"7\xFF",
        b"",
        placeholder.as_bytes(),
        "é%25".as_bytes(),
    ] {
        let sent = Record {
            key: Some(key_from_bytes(bytes)),
            ..record(LOAD, r#"{"key":7,"text":"x"}"#, |_| {})
        };
        append(&broker, Kind::Command, LOAD, sent.clone()).await;
        heard.next().await;
        let letter = dead_lettered(&broker, 1).await.remove(0);
        assert_eq!(letter.record, sent);
        dead.replay(&letter).await.unwrap();
        heard.next().await;
        let replayed = broker.appended(Kind::Command).pop().unwrap();
        assert_eq!(*key_to_bytes(replayed.key.as_deref().unwrap()), *bytes);
        let letter = dead_lettered(&broker, 1).await.remove(0);
        dead.discard(&letter).await.unwrap();
    }
    worker.shutdown(LONG).await;
}
