//! `BusError`: each text names the message and the failure.

use std::error::Error;
use std::time::Duration;

use static_bus::asynchronous::BusError;

const MESSAGE: &str = "users.get";

fn one_of_each() -> [BusError; 6] {
    [
        BusError::Timeout {
            message: MESSAGE,
            after: Duration::from_millis(250),
        },
        BusError::Transport {
            message: MESSAGE,
            source: "connection refused".into(),
        },
        BusError::Codec {
            message: MESSAGE,
            source: "missing field `id`".into(),
        },
        BusError::NoHandler { message: MESSAGE },
        BusError::Rejected {
            message: MESSAGE,
            source: "no such user".into(),
            retryable: false,
        },
        BusError::Remote {
            message: MESSAGE,
            error: "it panicked".to_owned(),
            retryable: true,
        },
    ]
}

#[test]
fn each_text_names_the_message_and_the_cause() {
    let texts = one_of_each().map(|error| error.to_string());
    assert_eq!(
        texts,
        [
            "users.get: no answer within 250ms",
            "users.get: the broker did not take it: connection refused",
            "users.get: its content does not fit: missing field `id`",
            "users.get: no worker serves it",
            "users.get: its handler failed: no such user",
            "users.get: its handler failed remotely: it panicked",
        ]
    );
    assert!(one_of_each().iter().all(|error| error.message() == MESSAGE));
}

#[test]
fn each_says_whether_another_try_can_help() {
    let retryable = one_of_each().map(|error| error.is_retryable());
    assert_eq!(retryable, [true, true, false, true, false, true]);
}

#[test]
fn causes_are_sources() {
    let sources = one_of_each().map(|error| error.source().map(ToString::to_string));
    let [timeout, transport, codec, no_handler, rejected, remote] = sources;
    assert_eq!([timeout, no_handler, remote], [None, None, None]);
    assert_eq!(transport.as_deref(), Some("connection refused"));
    assert_eq!(codec.as_deref(), Some("missing field `id`"));
    assert_eq!(rejected.as_deref(), Some("no such user"));
}
