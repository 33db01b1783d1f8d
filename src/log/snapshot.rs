//! Snapshots: a state, and the position of the log that it belongs to.

use super::check::{Unfit, check_binary};
use super::format::{SNAPSHOT, seal, unseal};
use super::reader::decode;
use super::{LogError, WriteError, files};
use crate::time::Time;
use alloc::string::String;
use core::{error::Error, fmt};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A state of a bus and the position of the log that it belongs to; saved by
/// [`Writer::snapshot`](super::Writer::snapshot).
///
/// The rest of the log is read by [`Reader::open_after`](super::Reader::open_after).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot<S> {
    /// The state that was saved.
    pub state: S,
    /// The number of inputs of the log that are in the state.
    pub position: u64,
    /// The time of the last of them.
    pub time: Time,
    /// The identity of the log.
    pub(super) log: u64,
}

impl<S: DeserializeOwned> Snapshot<S> {
    /// Reads a snapshot.
    ///
    /// # Errors
    ///
    /// [`LogError`] if the file does not exist, is damaged, or has another type of state.
    pub fn load(file: impl AsRef<Path>) -> Result<Self, LogError> {
        let file = file.as_ref();
        let opened = File::open(file).map_err(|error| LogError::io(file, error))?;
        let (body, _) = unseal(file, SNAPSHOT, opened)?;
        let malformed = |time, reason| LogError::Malformed {
            file: file.into(),
            offset: 0,
            time,
            reason,
        };
        let Ok((place, state)) = postcard::take_from_bytes::<Place>(&body) else {
            return Err(malformed(Time::MIN, "it has no position".into()));
        };
        let Place {
            log,
            position,
            time,
        } = place;
        match decode(state) {
            Ok(state) => Ok(Snapshot {
                state,
                position,
                time,
                log,
            }),
            Err(reason) => Err(malformed(time, reason)),
        }
    }
}

/// What precedes the state.
#[derive(Serialize, Deserialize)]
struct Place {
    log: u64,
    position: u64,
    time: Time,
}

/// Writes a snapshot.
pub(super) fn save<S: Serialize>(
    file: &Path,
    log: u64,
    position: u64,
    time: Time,
    state: &S,
) -> Result<(), SnapshotError> {
    let refused = |unfit: Unfit| {
        let (path, reason) = unfit.in_input::<S>();
        SnapshotError::Value { path, reason }
    };
    check_binary(state).map_err(refused)?;
    let place = Place {
        log,
        position,
        time,
    };
    let body = postcard::to_allocvec(&(place, state))
        .map_err(|error| refused(serde::ser::Error::custom(error)))?;
    let replaced = files::replace(file, &seal(SNAPSHOT, &body));
    replaced.map(drop).map_err(|error| SnapshotError::Io {
        file: file.into(),
        error,
    })
}

/// The error of a snapshot that is not saved. The file is as it was before.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The inputs before the snapshot are not recorded.
    Write(WriteError),
    /// A snapshot cannot hold the state, or it would be read as another one.
    #[non_exhaustive]
    Value {
        /// The place of the value: the fields of the state, as in `book.bids`.
        path: String,
        /// The fault and its remedy.
        reason: String,
    },
    /// The file cannot be written.
    #[non_exhaustive]
    Io {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

impl From<WriteError> for SnapshotError {
    fn from(error: WriteError) -> Self {
        SnapshotError::Write(error)
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Write(error) => error.fmt(f),
            SnapshotError::Value { path, reason } => {
                write!(f, "`{path}` cannot be saved in a snapshot: {reason}")
            }
            SnapshotError::Io { file, error } => write!(
                f,
                "the snapshot {} cannot be saved ({error}): give a path in a folder with room",
                file.display()
            ),
        }
    }
}

impl Error for SnapshotError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SnapshotError::Write(error) => error.source(),
            SnapshotError::Io { error, .. } => Some(error),
            SnapshotError::Value { .. } => None,
        }
    }
}
