//! The error of an input that is not recorded.

use crate::time::Time;
use alloc::{string::String, sync::Arc};
use core::{error::Error, fmt};
use std::io;
use std::path::PathBuf;

/// The error of an input that was not recorded.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WriteError {
    /// A file cannot be written. Recording has ended.
    #[non_exhaustive]
    Io {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: Arc<io::Error>,
        /// The number of inputs in the log that are [`recorded`](super::Writer::recorded).
        recorded: u64,
    },
    /// An input was written and cannot be read back. Recording has ended.
    #[non_exhaustive]
    Unreadable {
        /// The number of inputs in the log before this one.
        position: u64,
        /// The fault.
        reason: String,
    },
    /// The thread that writes has panicked. Recording has ended.
    Panicked,
    /// The log cannot hold an input, or it would be read as another one. Nothing of it was written; the
    /// next input can be recorded.
    #[non_exhaustive]
    Value {
        /// The time of the input.
        time: Time,
        /// The place of the value: the message and its fields, as in `Price.bid`.
        path: String,
        /// The fault and its remedy.
        reason: String,
    },
    /// An input is earlier than the one before. It was not recorded; the next input can be.
    #[non_exhaustive]
    Late {
        /// The time of the input.
        time: Time,
        /// The time of the input before.
        last: Time,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Io {
                file,
                error,
                recorded,
            } => write!(
                f,
                "{} cannot be written ({error}), so recording has ended, with {recorded} inputs in the log: \
                 make room, and `append` to the log",
                file.display()
            ),
            WriteError::Unreadable { position, reason } => write!(
                f,
                "input {position} of the log cannot be read back ({reason}), so recording has ended: \
                 use no serde attribute that needs the names of fields, such as `untagged` and `tag`"
            ),
            WriteError::Panicked => f.write_str(
                "the thread that writes the log has panicked, so recording has ended: \
                 the `Deserialize` of an input must not panic",
            ),
            WriteError::Value { time, path, reason } => {
                write!(f, "`{path}` at {time} cannot be logged: {reason}")
            }
            WriteError::Late { time, last } => write!(
                f,
                "an input of time {time} cannot be logged after one of time {last}: record inputs in order of time"
            ),
        }
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            WriteError::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
