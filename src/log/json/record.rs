//! Writes inputs to a log as they pass.

use crate::log::check::{Unfit, check_json};
use crate::time::Time;
use alloc::string::String;
use alloc::vec::Vec;
use core::iter::FusedIterator;
use core::{error::Error, fmt, mem};
use serde::Serialize;
use std::io::{self, Write};

/// Writes each input to a log and then passes it on.
///
/// So the log contains an input whose handler panics. A [`Replay`](crate::sim::Replay) that stops early
/// has read one more input than it delivered, and the log contains that one as well.
///
/// Use a [`BufWriter`](io::BufWriter) as `writer`, since each line is a separate write. It is flushed
/// when the inputs end.
///
/// # Errors
///
/// The iterator yields [`RecordError`], and continues with the next call. The log never has a part of an
/// input that was refused; after an error of the writer, the next call writes the rest of the line.
pub fn record<I: IntoIterator, W: Write>(inputs: I, writer: W) -> Record<I::IntoIter, W> {
    Record {
        inputs: inputs.into_iter(),
        writer: Some(writer),
        next: None,
        line: Vec::new(),
        written: 0,
    }
}

/// Inputs that are written to a log as they pass; made by [`record`].
#[derive(Debug)]
pub struct Record<I: Iterator, W> {
    inputs: I,
    /// `None` once the inputs have ended.
    writer: Option<W>,
    /// The input that was read. It stays here until its line is written, so that no error and no panic
    /// loses it.
    next: Option<I::Item>,
    /// The line of `next`; empty until it is complete.
    line: Vec<u8>,
    /// The number of bytes of `line` that were written.
    written: usize,
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
        if self.next.is_none() {
            self.next = self.inputs.next();
        }
        let written = match &self.next {
            Some(Ok(input)) => {
                if self.line.is_empty() {
                    match line_of(input, mem::take(&mut self.line)) {
                        Ok(line) => (self.line, self.written) = (line, 0),
                        Err(refused) => {
                            self.next = None;
                            return Some(Err(refused));
                        }
                    }
                }
                write_rest(writer, &self.line, &mut self.written)
            }
            Some(Err(_)) => Ok(()),
            None => writer.flush(),
        };
        if let Err(error) = written {
            return Some(Err(RecordError::Write(error)));
        }
        self.line.clear();
        let Some(input) = self.next.take() else {
            self.writer = None;
            return None;
        };
        Some(input.map_err(RecordError::Input))
    }
}

impl<I, W, M, E> FusedIterator for Record<I, W>
where
    I: Iterator<Item = Result<(Time, M), E>>,
    M: Serialize,
    W: Write,
{
}

/// The line of an input, in a buffer that has been used before.
fn line_of<M: Serialize, E>(
    input: &(Time, M),
    mut line: Vec<u8>,
) -> Result<Vec<u8>, RecordError<E>> {
    let json = |line: &mut Vec<u8>| {
        check_json(&input.1)?;
        serde_json::to_writer(&mut *line, input).map_err(serde::ser::Error::custom)?;
        if line.contains(&b'\n') {
            return Err(Unfit::line_break());
        }
        line.push(b'\n');
        Ok(())
    };
    line.clear();
    match json(&mut line) {
        Ok(()) => Ok(line),
        Err(unfit) => {
            let (path, reason) = unfit.in_input::<M>();
            let time = input.0;
            Err(RecordError::Value { time, path, reason })
        }
    }
}

/// Writes `line` from position `written` on, and keeps count.
fn write_rest(writer: &mut impl Write, line: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < line.len() {
        match writer.write(&line[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => *written += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The error of a [`record`] iterator.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordError<E> {
    /// The inputs yielded an error; recording can continue after it.
    Input(E),
    /// The log could not be written. The input was not passed on; the next call writes the rest of its
    /// line and then passes it on.
    Write(io::Error),
    /// The log cannot hold an input, or it would be read as another one. Nothing was written and the
    /// input was not passed on; recording can continue after it.
    #[non_exhaustive]
    Value {
        /// The time of the input.
        time: Time,
        /// The place of the value: the message and its fields, as in `Price.bid`.
        path: String,
        /// The fault and its remedy.
        reason: String,
    },
}

impl<E: fmt::Display> fmt::Display for RecordError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Input(error) => error.fmt(f),
            RecordError::Write(error) => {
                write!(
                    f,
                    "the log cannot be written ({error}): give it a writer with room, and continue"
                )
            }
            RecordError::Value { time, path, reason } => {
                write!(f, "`{path}` at {time} cannot be logged: {reason}")
            }
        }
    }
}

impl<E: Error> Error for RecordError<E> {}
