//! The error of a log that cannot be read or opened.

use crate::time::Time;
use alloc::string::String;
use core::{error::Error, fmt};
use std::io;
use std::path::{Path, PathBuf};

/// The error of a log that cannot be read, or opened for writing.
///
/// Of a damaged log every input before the damage is read, and then this error. Nothing is left out.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogError {
    /// A file or its folder cannot be opened, read or created.
    #[non_exhaustive]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// No file of the log exists.
    #[non_exhaustive]
    NoLog {
        /// The path of the log, without number and ending.
        log: PathBuf,
    },
    /// A log that would be created exists.
    #[non_exhaustive]
    Exists {
        /// A segment of it.
        file: PathBuf,
    },
    /// Another writer has the log open.
    #[non_exhaustive]
    InUse {
        /// The segment that is being written.
        file: PathBuf,
    },
    /// A file does not begin as a log or a snapshot does.
    #[non_exhaustive]
    NotALog {
        /// The file.
        file: PathBuf,
    },
    /// A file has another version of the format.
    #[non_exhaustive]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The log was recorded with other messages.
    #[non_exhaustive]
    Messages {
        /// The segment.
        file: PathBuf,
        /// The names that were added, removed or reordered.
        difference: String,
    },
    /// Bytes of a file are not those that were written.
    #[non_exhaustive]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// The position of the damaged frame in the file, in bytes; 0 for the head of the file.
        offset: u64,
        /// The checksum (CRC-32C) in the file.
        expected: u32,
        /// The checksum of the bytes in the file.
        found: u32,
    },
    /// A segment that is not the last one ends within a frame.
    #[non_exhaustive]
    CutShort {
        /// The segment.
        file: PathBuf,
        /// The position of the frame in the file, in bytes.
        offset: u64,
    },
    /// A segment does not exist.
    #[non_exhaustive]
    MissingSegment {
        /// The segment.
        file: PathBuf,
    },
    /// A file belongs to another log.
    #[non_exhaustive]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// Inputs are missing before a segment, or at the end of a log before the position of a snapshot.
    #[non_exhaustive]
    MissingInputs {
        /// The file that tells of them.
        file: PathBuf,
        /// The number of inputs that should be before.
        expected: u64,
        /// The number of inputs that are before.
        found: u64,
    },
    /// The bytes of an input, or of a snapshot's state, are intact and are not of the type that is read.
    #[non_exhaustive]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The position of the frame in the file, in bytes.
        offset: u64,
        /// The time of the input, or of the snapshot.
        time: Time,
        /// The fault.
        reason: String,
    },
}

impl LogError {
    pub(super) fn io(file: &Path, error: io::Error) -> Self {
        let file = file.into();
        LogError::Io { file, error }
    }

    pub(super) fn corrupt(file: &Path, offset: u64, expected: u32, found: u32) -> Self {
        LogError::Corrupt {
            file: file.into(),
            offset,
            expected,
            found,
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Io { file, error } => write!(
                f,
                "{} cannot be used ({error}): give the path of a log in a folder that can be read and written",
                file.display()
            ),
            LogError::NoLog { log } => write!(
                f,
                "there is no log {0}: no file {0}.000001.log; give the path without number and ending, or create it",
                log.display()
            ),
            LogError::Exists { file } => write!(
                f,
                "{} exists: `append` to that log, or give another path",
                file.display()
            ),
            LogError::InUse { file } => write!(
                f,
                "{} is being written: end the other writer, or give another path",
                file.display()
            ),
            LogError::NotALog { file } => write!(
                f,
                "{} is no log or snapshot of this kind: its first bytes differ",
                file.display()
            ),
            LogError::Version { file, version } => write!(
                f,
                "{} has version {version} of the format, and this library reads version {}: \
                 use the version of static-bus that wrote it",
                file.display(),
                super::format::VERSION
            ),
            LogError::Messages { file, difference } => write!(
                f,
                "{} was recorded with other messages: {difference}",
                file.display()
            ),
            LogError::Corrupt {
                file,
                offset,
                expected,
                found,
            } => write!(
                f,
                "{} is damaged at byte {offset}: the checksum should be {expected:#010x} and is {found:#010x}; \
                 restore the file from a copy{}",
                file.display(),
                match offset {
                    0 => "",
                    _ => ", or cut it at that byte to read what is before",
                }
            ),
            LogError::CutShort { file, offset } => write!(
                f,
                "{} ends within the frame at byte {offset}, but is not the last segment: restore it from a copy",
                file.display()
            ),
            LogError::MissingSegment { file } => write!(
                f,
                "{} is missing: restore it, or read from a snapshot after it",
                file.display()
            ),
            LogError::Foreign { file } => write!(
                f,
                "{} belongs to another log: restore the one of this log",
                file.display()
            ),
            LogError::MissingInputs {
                file,
                expected,
                found,
            } => write!(
                f,
                "{} needs {expected} inputs before it, and the log has {found}: restore what is missing",
                file.display()
            ),
            LogError::Malformed {
                file,
                offset,
                time,
                reason,
            } => write!(
                f,
                "{} at byte {offset}, at {time}, has another type than is read ({reason}): \
                 read it with the types it was recorded with",
                file.display()
            ),
        }
    }
}

impl Error for LogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LogError::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
