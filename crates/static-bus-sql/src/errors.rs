//! Errors of the client library, with their class and remedy.

use std::{io, sync::Arc};

use sqlx::Error;
use static_bus_remote::transport::{TransportError, TransportErrorKind};

use super::dialect::{Dialect, Failure};

/// The failure of a call.
pub(crate) fn failure<D: Dialect>(address: &Arc<str>, error: Error) -> TransportError {
    describe::<D>(address, &error).with_source(error)
}

/// The failure of a statement of a handler, if its transaction was rolled back for another one, or if it says no more than that
/// one before it has failed. Transactions of SQLite take turns.
pub(crate) fn conflict<D: Dialect>(address: &Arc<str>, error: &Error) -> Option<TransportError> {
    let failure = classify::<D>(error);
    let is_conflict = failure.is_conflict || failure.is_aftermath;
    (D::CONCURRENT && is_conflict).then(|| describe::<D>(address, error))
}

fn describe<D: Dialect>(address: &Arc<str>, error: &Error) -> TransportError {
    let failure = classify::<D>(error);
    let text = match error {
        Error::Database(error) => error.message().to_owned(),
        _ => error.to_string(),
    };
    let holder = match failure.is_conflict {
        true => D::holder(address),
        false => String::new(),
    };
    let reason = format!("{text}: {}{holder}", failure.remedy);
    TransportError::new(failure.kind, address.clone(), reason)
}

/// Returns `true` if the transaction was rolled back for another one.
pub(crate) fn is_conflict<D: Dialect>(error: &Error) -> bool {
    classify::<D>(error).is_conflict
}

fn classify<D: Dialect>(error: &Error) -> Failure {
    use TransportErrorKind::{Refused, Unreachable};
    const TLS: Failure = Failure::new(
        Unreachable,
        "check that the server speaks TLS, and that its certificate is valid for this host and trusted by this machine",
    );
    match error {
        Error::Database(error) => D::failure(&error.code().unwrap_or_default()),
        Error::Configuration(_) => Failure::new(Refused, "correct the URL"),
        Error::Tls(_) => TLS,
        // A certificate that is refused.
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => TLS,
        Error::PoolTimedOut => Failure::new(
            Unreachable,
            "all connections are busy, or none can be opened: check the database, or allow more connections",
        ),
        Error::Io(_) => Failure::new(
            Unreachable,
            "start the database, or correct the host and port of the URL",
        ),
        Error::PoolClosed | Error::WorkerCrashed | Error::BeginFailed => {
            Failure::new(Unreachable, "try again")
        }
        _ => Failure::new(Refused, "see the text of the client library"),
    }
}
