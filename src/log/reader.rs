//! The inputs of a log, for a replay.

use super::format::{INPUT_HEAD, first_input, time_of};
use super::frames::{Found, Frame, Frames, Tail};
use super::{LogError, Snapshot};
use crate::mailbox::Names;
use crate::time::Time;
use alloc::{format, string::String, vec::Vec};
use core::{any, fmt, iter::FusedIterator, marker::PhantomData};
use serde::de::DeserializeOwned;
use std::path::Path;

/// An iterator over the inputs of a log, as [`Replay`](crate::sim::Replay) takes it.
///
/// `M` is the enum that the log was recorded with. It may list more messages, after those of the log.
///
/// # Errors
///
/// The iterator yields every input before the damage, then [`LogError`], and ends. A last frame that was
/// not written whole is no error; [`tail`](Reader::tail) tells of it.
pub struct Reader<M> {
    frames: Frames,
    /// The frame that is being read, and its bytes.
    frame: Option<Frame>,
    body: Vec<u8>,
    /// The position of the next input in `body`.
    at: usize,
    /// The time of the input before.
    last: Time,
    /// The number of inputs before the next one.
    position: u64,
    ended: bool,
    message: PhantomData<fn() -> M>,
}

impl<M: Names + DeserializeOwned> Reader<M> {
    /// The inputs of a log from the first one on.
    ///
    /// # Errors
    ///
    /// [`LogError`] if there is no log, or if its first segment is missing or has a damaged head.
    pub fn open(log: impl AsRef<Path>) -> Result<Self, LogError> {
        Self::open_at(log.as_ref(), 0)
    }

    /// The inputs of a log after a snapshot. Segments that end before it need not exist.
    ///
    /// # Errors
    ///
    /// [`LogError`] if the log is not that of the snapshot, or has fewer inputs.
    pub fn open_after<S>(log: impl AsRef<Path>, snapshot: &Snapshot<S>) -> Result<Self, LogError> {
        let reader = Self::open_at(log.as_ref(), snapshot.position)?;
        if reader.frames.id() != snapshot.log {
            let file = reader.frames.file().into();
            return Err(LogError::Foreign { file });
        }
        Ok(reader)
    }

    fn open_at(log: &Path, position: u64) -> Result<Self, LogError> {
        let frames = Frames::at(log, M::NAMES, position)?;
        let mut reader = Reader {
            position: frames.position,
            last: frames.last,
            frames,
            frame: None,
            body: Vec::new(),
            at: 0,
            ended: false,
            message: PhantomData,
        };
        while reader.position < position {
            if reader.pass_input()?.is_none() {
                return Err(LogError::MissingInputs {
                    file: reader.frames.file().into(),
                    expected: position,
                    found: reader.position,
                });
            }
        }
        Ok(reader)
    }
}

impl<M> Reader<M> {
    /// The number of inputs of the log before the next one.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The end of the log. Reads the last segment.
    ///
    /// # Errors
    ///
    /// [`LogError`] if that segment is damaged.
    pub fn tail(&self) -> Result<Tail, LogError> {
        let (log, names) = self.frames.source();
        Ok(Frames::tail(log, names)?.1)
    }

    /// Goes behind the next input; returns its time and the place of its bytes in `body`, or `None` at the
    /// end of the log.
    fn pass_input(&mut self) -> Result<Option<(Time, core::ops::Range<usize>)>, LogError> {
        while self.at == self.body.len() {
            self.at = 0;
            match self.frames.next(&mut self.body)? {
                Some(Found::Inputs(frame)) => {
                    self.frame = Some(frame);
                    self.last = frame.base;
                }
                // The run was continued later, or this is the end of the log.
                Some(Found::End(_)) => {}
                Some(Found::Torn(_)) | None => return Ok(None),
            }
        }
        let Some(input) = first_input(&self.body[self.at..]) else {
            return Err(self.malformed("its length is that of more bytes than the frame has"));
        };
        let end = self.at + INPUT_HEAD + input.len();
        let Ok((time, message)) = time_of(self.last, input) else {
            return Err(self.malformed("it has no time"));
        };
        let start = end - message.len();
        self.at = end;
        self.last = time;
        self.position += 1;
        Ok(Some((time, start..end)))
    }

    fn malformed(&self, reason: impl fmt::Display) -> LogError {
        LogError::Malformed {
            file: self.frames.file().into(),
            offset: self.frame.map_or(0, |frame| frame.offset),
            time: self.last,
            reason: format!("{reason}"),
        }
    }
}

impl<M: DeserializeOwned> Iterator for Reader<M> {
    type Item = Result<(Time, M), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let input = match self.pass_input() {
            Ok(None) => None,
            Ok(Some((time, place))) => match decode(&self.body[place]) {
                Ok(message) => Some(Ok((time, message))),
                Err(reason) => Some(Err(self.malformed(reason))),
            },
            Err(error) => Some(Err(error)),
        };
        self.ended = !matches!(input, Some(Ok(_)));
        input
    }
}

impl<M: DeserializeOwned> FusedIterator for Reader<M> {}

impl<M> fmt::Debug for Reader<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Reader");
        debug.field("log", &self.frames.source().0);
        debug
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// A value that takes all of `bytes`.
///
/// # Errors
/// The fault.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!(
            "{} bytes are left of `{}`",
            rest.len(),
            any::type_name::<T>()
        )),
        Err(error) => Err(format!("`{}`: {error}", any::type_name::<T>())),
    }
}
