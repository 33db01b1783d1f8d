//! The inputs of a log, line by line.

use crate::time::Time;
use alloc::vec::Vec;
use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::{error::Error, fmt, mem};
use serde::de::DeserializeOwned;
use std::io::{self, BufRead};

/// Reads the inputs of a log that [`record`](super::record) wrote. Blank lines are skipped.
///
/// # Errors
///
/// The iterator yields [`ReadError`]. After [`ReadError::Io`] it continues where it was; after the others
/// it ends.
pub fn read<M: DeserializeOwned, R: BufRead>(reader: R) -> Read<M, R> {
    Read {
        reader: Some(reader),
        line: Vec::new(),
        number: 1,
        last: Time::MIN,
        message: PhantomData,
    }
}

/// An iterator over the inputs of a log; made by [`read`].
#[derive(Debug)]
pub struct Read<M, R> {
    /// `None` once the log has ended or a faulty line was found.
    reader: Option<R>,
    /// The bytes of a line that were read. They stay here until the line is parsed, so that no error and
    /// no panic loses them.
    line: Vec<u8>,
    /// The line's number, from 1.
    number: usize,
    last: Time,
    message: PhantomData<fn() -> M>,
}

impl<M: DeserializeOwned, R: BufRead> Iterator for Read<M, R> {
    type Item = Result<(Time, M), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let input = match self.read_line() {
            Ok(true) => self.parse_line(),
            Ok(false) => {
                self.reader = None;
                return None;
            }
            Err(error) => {
                let line = self.number;
                return Some(Err(ReadError::Io { line, error }));
            }
        };
        match input {
            Ok(_) => self.end_line(),
            Err(_) => self.reader = None,
        }
        Some(input)
    }
}

impl<M: DeserializeOwned, R: BufRead> FusedIterator for Read<M, R> {}

impl<M: DeserializeOwned, R: BufRead> Read<M, R> {
    /// Reads the rest of the next line that is not blank; `false` if there is none.
    fn read_line(&mut self) -> io::Result<bool> {
        let Some(reader) = &mut self.reader else {
            return Ok(false);
        };
        loop {
            let mut more = true;
            while more && !self.line.ends_with(b"\n") {
                more = reader.read_until(b'\n', &mut self.line)? > 0;
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
            if !more {
                return Ok(false);
            }
            self.line.clear();
            self.number += 1;
        }
    }

    fn end_line(&mut self) {
        self.line.clear();
        self.number += 1;
    }

    fn parse_line(&mut self) -> Result<(Time, M), ReadError> {
        let line = self.number;
        let (time, message) = serde_json::from_slice(&self.line)
            .map_err(|error| ReadError::Malformed { line, error })?;
        let before = mem::replace(&mut self.last, time);
        if time < before {
            let after = time;
            return Err(ReadError::Unsorted {
                line,
                before,
                after,
            });
        }
        Ok((time, message))
    }
}

/// The error of a [`read`] iterator.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// Reading failed.
    #[non_exhaustive]
    Io {
        /// The number of the line, from 1.
        line: usize,
        /// The cause.
        error: io::Error,
    },
    /// A line is not an array of a time and an input.
    #[non_exhaustive]
    Malformed {
        /// The number of the line, from 1.
        line: usize,
        /// The cause.
        error: serde_json::Error,
    },
    /// A line's time is earlier than that of the line before it.
    #[non_exhaustive]
    Unsorted {
        /// The number of the line, from 1.
        line: usize,
        /// The time of the line before.
        before: Time,
        /// The time of this line.
        after: Time,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io { line, error } => {
                write!(
                    f,
                    "log line {line} cannot be read ({error}): give a readable file"
                )
            }
            ReadError::Malformed { line, error } => write!(
                f,
                "log line {line} is not [time, input] ({error}): \
                 read it with the message types it was recorded with, and mend or cut it there"
            ),
            ReadError::Unsorted {
                line,
                before,
                after,
            } => write!(
                f,
                "log line {line} is not sorted: {after} comes after {before}; sort the lines by time"
            ),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ReadError::Io { error, .. } => Some(error),
            ReadError::Malformed { error, .. } => Some(error),
            ReadError::Unsorted { .. } => None,
        }
    }
}
