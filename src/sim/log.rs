//! A log of inputs, from which a run can be repeated. With features `sim` and `serde`.
//!
//! The log is JSON Lines: one input per line, as an array of its time and the input. Inputs are enums
//! declared with [`mailbox!`](crate::mailbox!) and serde's derives. Messages of the timeline are not in
//! the log: the handlers schedule them again when the inputs are replayed.
//!
//! Numbers are preserved exactly, but JSON has no infinity and no NaN: such a number is written as
//! `null`, and reading it as a number is an error.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use static_bus::{prelude::*, sim::{Replay, Stream, Timeline, log, merge}};
//! use std::cell::Cell;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Deposit { amount: u32 }
//! event!(Deposit);
//! mailbox! {
//!     #[derive(Serialize, Deserialize)]
//!     enum Input { event Deposit }
//! }
//!
//! let balance = Cell::new(0);
//! let bus = BusBuilder::new()
//!     .subscribe_fn(|deposit: &Deposit| balance.set(balance.get() + deposit.amount))
//!     .build();
//!
//! let deposits = [(1, Deposit { amount: 70 }), (2, Deposit { amount: 5 })];
//! let deposits = deposits.map(|(time, deposit)| (time, Input::from(deposit)));
//! let inputs = merge([Stream::new("deposits", deposits)]);
//! let mut file = Vec::new();
//! Replay::new(&bus, &Timeline::<Input>::new(), log::record(inputs, &mut file)).run().unwrap();
//! assert_eq!(balance.take(), 75);
//! assert_eq!(file, b"[1,{\"Deposit\":{\"amount\":70}}]\n[2,{\"Deposit\":{\"amount\":5}}]\n");
//!
//! Replay::new(&bus, &Timeline::<Input>::new(), log::read::<Input, _>(&file[..])).run().unwrap();
//! assert_eq!(balance.get(), 75);
//! ```

use super::Time;
use alloc::vec::Vec;
use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::{error::Error, fmt};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, BufRead, Write};

/// Writes each input to a log and then passes it on.
///
/// So the log contains an input whose handler panics. A [`Replay`](super::Replay) that stops early has
/// read one more input than it delivered, and the log contains that one as well.
///
/// Use a [`BufWriter`](io::BufWriter) as `writer`, since each line is a separate write. It is flushed
/// when the inputs end.
///
/// # Errors
///
/// The iterator yields [`RecordError`]; after [`RecordError::Write`] it ends.
pub fn record<I: IntoIterator, W: Write>(inputs: I, writer: W) -> Record<I::IntoIter, W> {
    Record {
        inputs: inputs.into_iter(),
        writer: Some(writer),
    }
}

/// Inputs that are written to a log as they pass; made by [`record`].
#[derive(Debug)]
pub struct Record<I, W> {
    inputs: I,
    /// `None` once the inputs have ended or writing has failed.
    writer: Option<W>,
}

impl<I, W, M, E> Iterator for Record<I, W>
where
    I: Iterator<Item = Result<(Time, M), E>>,
    M: Serialize,
    W: Write,
{
    type Item = Result<(Time, M), RecordError<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        let writer = self.writer.as_mut()?;
        let written = match self.inputs.next() {
            Some(Ok(input)) => write_line(writer, &input).map(|()| Some(Ok(input))),
            Some(Err(error)) => Ok(Some(Err(RecordError::Input(error)))),
            None => writer.flush().map(|()| None),
        };
        if !matches!(written, Ok(Some(_))) {
            self.writer = None;
        }
        written.unwrap_or_else(|error| Some(Err(RecordError::Write(error))))
    }
}

impl<I, W, M, E> FusedIterator for Record<I, W>
where
    I: Iterator<Item = Result<(Time, M), E>>,
    M: Serialize,
    W: Write,
{
}

fn write_line<M: Serialize>(writer: &mut impl Write, input: &(Time, M)) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, input)?;
    writer.write_all(b"\n")
}

/// Reads the inputs of a log that [`record`] wrote. Blank lines are skipped.
///
/// # Errors
///
/// The iterator yields [`LogError`], and then ends.
pub fn read<M: DeserializeOwned, R: BufRead>(reader: R) -> Read<M, R> {
    Read {
        reader: Some(reader),
        line: Vec::new(),
        number: 0,
        last: 0,
        message: PhantomData,
    }
}

/// An iterator over the inputs of a log; made by [`read`].
#[derive(Debug)]
pub struct Read<M, R> {
    /// `None` once the log has ended or an error was found.
    reader: Option<R>,
    line: Vec<u8>,
    number: usize,
    last: Time,
    message: PhantomData<fn() -> M>,
}

impl<M: DeserializeOwned, R: BufRead> Iterator for Read<M, R> {
    type Item = Result<(Time, M), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let input = self.next_line().and_then(|more| {
            if more {
                self.parse_line().map(Some)
            } else {
                Ok(None)
            }
        });
        if !matches!(input, Ok(Some(_))) {
            self.reader = None;
        }
        input.transpose()
    }
}

impl<M: DeserializeOwned, R: BufRead> FusedIterator for Read<M, R> {}

impl<M: DeserializeOwned, R: BufRead> Read<M, R> {
    /// Reads up to the next line that is not blank; `false` if there is none.
    fn next_line(&mut self) -> Result<bool, LogError> {
        let Some(reader) = &mut self.reader else {
            return Ok(false);
        };
        loop {
            self.line.clear();
            self.number += 1;
            let length = reader.read_until(b'\n', &mut self.line);
            let line = self.number;
            if length.map_err(|error| LogError::Io { line, error })? == 0 {
                return Ok(false);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn parse_line(&mut self) -> Result<(Time, M), LogError> {
        let line = self.number;
        let (time, message) = serde_json::from_slice(&self.line)
            .map_err(|error| LogError::Malformed { line, error })?;
        let before = core::mem::replace(&mut self.last, time);
        if time < before {
            let after = time;
            return Err(LogError::Unsorted {
                line,
                before,
                after,
            });
        }
        Ok((time, message))
    }
}

/// The error of a [`record`] iterator.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordError<E> {
    /// The inputs yielded an error; recording can continue after it.
    Input(E),
    /// The log could not be written. The input was not passed on.
    Write(io::Error),
}

impl<E: fmt::Display> fmt::Display for RecordError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Input(error) => error.fmt(f),
            RecordError::Write(error) => {
                write!(
                    f,
                    "the log cannot be written ({error}): give it a writer with room"
                )
            }
        }
    }
}

impl<E: Error> Error for RecordError<E> {}

/// The error of a [`read`] iterator.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogError {
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

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Io { line, error } => {
                write!(
                    f,
                    "log line {line} cannot be read ({error}): give a readable file"
                )
            }
            LogError::Malformed { line, error } => write!(
                f,
                "log line {line} is not [time, input] ({error}): \
                 read it with the message types it was recorded with, and mend or cut it there"
            ),
            LogError::Unsorted {
                line,
                before,
                after,
            } => write!(
                f,
                "log line {line} is not sorted: time {after} comes after time {before}; sort the lines by time"
            ),
        }
    }
}

impl Error for LogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LogError::Io { error, .. } => Some(error),
            LogError::Malformed { error, .. } => Some(error),
            LogError::Unsorted { .. } => None,
        }
    }
}
