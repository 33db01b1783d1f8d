//! The segment that is being written.

use crate::log::format::{self, FRAME_HEAD, FrameHead, Mark, SegmentHead, seal};
use crate::log::frames::Frames;
use crate::log::{LogError, files};
use crate::time::Time;
use alloc::{borrow::ToOwned, vec::Vec};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(in crate::log) struct Segment {
    log: PathBuf,
    names: &'static [&'static str],
    pub(super) id: u64,
    number: u64,
    pub(super) path: PathBuf,
    file: File,
    pub(super) bytes: u64,
}

impl Segment {
    /// Begins the first segment of a log.
    pub(in crate::log) fn first(
        log: &Path,
        id: u64,
        names: &'static [&'static str],
    ) -> Result<Self, LogError> {
        Self::begin(log, names, id, 1, 0, Time::MIN).map_err(unusable)
    }

    /// Begins a segment after the last one of a log.
    ///
    /// `whole` is the length of the last segment without the frame that is not whole.
    pub(in crate::log) fn after(frames: &Frames, whole: Option<u64>) -> Result<Self, LogError> {
        let (log, names) = frames.source();
        let path = frames.file().to_owned();
        let opened = OpenOptions::new().append(true).open(&path);
        let file = opened.map_err(|error| LogError::io(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::InUse { file: path }),
            Err(TryLockError::Error(error)) => return Err(LogError::io(&path, error)),
        }
        if let Some(whole) = whole {
            file.set_len(whole)
                .map_err(|error| LogError::io(&path, error))?;
        }
        let mut last = Segment {
            log: log.to_owned(),
            names,
            id: frames.id(),
            number: frames.number(),
            path,
            file,
            bytes: 0,
        };
        last.next(frames.position, frames.last).map_err(unusable)
    }

    /// Begins the next segment, and then marks this one as continued.
    ///
    /// In this order, because a crash in between would leave a log that misses a segment otherwise.
    ///
    /// # Errors
    /// The file that cannot be written, and the cause.
    pub(super) fn next(&mut self, position: u64, last: Time) -> Result<Self, (PathBuf, io::Error)> {
        let number = self.number + 1;
        let next = Self::begin(&self.log, self.names, self.id, number, position, last)?;
        let marked = self.mark(Mark::Continued, last).and_then(|()| self.sync());
        marked.map_err(|error| (self.path.clone(), error))?;
        Ok(next)
    }

    fn begin(
        log: &Path,
        names: &'static [&'static str],
        id: u64,
        number: u64,
        position: u64,
        last: Time,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let head = SegmentHead {
            log: id,
            segment: number,
            position,
            last,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        };
        let head = postcard::to_allocvec(&head).expect("a head is numbers and texts");
        let bytes = seal(format::SEGMENT, &head);
        let path = files::segment(log, number);
        let file = match files::replace(&path, &bytes) {
            Ok(file) => file,
            Err(error) => return Err((path, error)),
        };
        if let Err(error) = file.try_lock() {
            return Err((path, error.into()));
        }
        Ok(Segment {
            log: log.to_owned(),
            names,
            id,
            number,
            path,
            file,
            bytes: bytes.len() as u64,
        })
    }

    /// Writes a frame of inputs, whose body is behind the room for its head.
    pub(super) fn write(&mut self, frame: &mut [u8], inputs: u32, last: Time) -> io::Result<()> {
        let (head, body) = frame.split_at_mut(FRAME_HEAD);
        head.copy_from_slice(&FrameHead::of(body, inputs, last).to_bytes());
        self.file.write_all(frame)?;
        self.bytes += frame.len() as u64;
        Ok(())
    }

    pub(super) fn mark(&mut self, mark: Mark, time: Time) -> io::Result<()> {
        let mut frame = Vec::from([0; FRAME_HEAD]);
        frame.push(mark as u8);
        self.write(&mut frame, 0, time)
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Drop for Segment {
    /// Unlocks the file. Closing it is not enough: a child process that has just been started has it open as well.
    fn drop(&mut self) {
        // A file that cannot be unlocked is unlocked when it is closed.
        _ = self.file.unlock();
    }
}

fn unusable((file, error): (PathBuf, io::Error)) -> LogError {
    LogError::Io { file, error }
}
