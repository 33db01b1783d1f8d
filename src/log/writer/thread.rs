//! The thread that writes: it takes inputs from the buffer, gathers them in frames, and flushes.

use super::{Segment, WriteError};
use crate::log::format::{FRAME_HEAD, INPUT_HEAD, Mark, first_input, time_of};
use crate::log::{Durability, OnError, Options};
use crate::time::Time;
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::panic::AssertUnwindSafe;
use rtrb::Consumer;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::{io, panic, thread};

/// The number of bytes from which on a frame is written.
const FRAME: usize = 256 << 10;

/// What the thread and the writer share.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The number of inputs in the log that survive as the durability says.
    pub(super) recorded: u64,
    /// The time at which the run ended.
    pub(super) end: Option<Time>,
    pub(super) failure: Option<WriteError>,
}

impl Progress {
    pub(super) fn at(position: u64) -> Self {
        let progress = Progress::default();
        progress.state().recorded = position;
        progress
    }

    /// Nothing panics while it has the lock.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a number of inputs is recorded or recording has ended.
    pub(super) fn wait_for(&self, position: u64) -> MutexGuard<'_, State> {
        let waits = |state: &mut State| state.recorded < position && state.failure.is_none();
        let state = self.changed.wait_while(self.state(), waits);
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the failure, which ends the recording.
    pub(super) fn fail(&self, failure: WriteError, on_error: OnError) {
        self.state().failure.get_or_insert_with(|| failure.clone());
        self.changed.notify_all();
        if let OnError::Continue(report) = on_error {
            report(&failure);
        }
    }
}

pub(super) struct Thread {
    pub(super) options: Options,
    pub(super) segment: Segment,
    pub(super) buffer: Consumer<u8>,
    pub(super) progress: Arc<Progress>,
    /// Fails if an input cannot be read.
    pub(super) read_back: fn(&[u8]) -> Result<(), String>,
    /// The number of inputs in the log, written or in `frame`.
    pub(super) position: u64,
    /// The time of the last of them.
    pub(super) last: Time,
    /// Room for the head of a frame, the inputs of the next frame, and the part of an input that has come.
    pub(super) frame: Vec<u8>,
}

impl Thread {
    /// Runs until the writer is dropped, or until an error.
    pub(super) fn run(mut self) {
        let written = panic::catch_unwind(AssertUnwindSafe(|| self.write_until_dropped()));
        if let Err(failure) = written.unwrap_or(Err(WriteError::Panicked)) {
            self.progress.fail(failure, self.options.on_error);
        }
        // The buffer is dropped last: who finds it abandoned finds the failure as well.
    }

    fn write_until_dropped(&mut self) -> Result<(), WriteError> {
        loop {
            // Asked first, so that all that was recorded is in the buffer.
            let dropped = self.buffer.is_abandoned();
            self.flush()?;
            if dropped {
                return self.end();
            }
            thread::park_timeout(self.options.flush_every);
        }
    }

    /// Writes what is in the buffer now.
    fn flush(&mut self) -> Result<(), WriteError> {
        let mut waiting = self.buffer.slots();
        if waiting == 0 {
            return Ok(());
        }
        let segment = usize::try_from(self.options.segment_bytes).unwrap_or(FRAME);
        while waiting > 0 {
            let length = waiting.min(FRAME).min(segment.max(1));
            waiting -= length;
            let Ok(bytes) = self.buffer.read_chunk(length) else {
                break;
            };
            let (first, second) = bytes.as_slices();
            self.frame.extend_from_slice(first);
            self.frame.extend_from_slice(second);
            bytes.commit_all();
            self.write_frame()?;
        }
        self.publish()
    }

    /// Writes a frame of the inputs that have come as a whole.
    fn write_frame(&mut self) -> Result<(), WriteError> {
        let (mut inputs, mut end, mut unreadable) = (0, FRAME_HEAD, None);
        while let Some(input) = first_input(&self.frame[end..]) {
            let read = time_of(self.last, input).map_err(|error| format!("{error}"));
            let read = read.and_then(|(time, input)| (self.read_back)(input).map(|()| time));
            match read {
                Ok(time) => self.last = time,
                Err(reason) => {
                    unreadable = Some(WriteError::Unreadable {
                        position: self.position,
                        reason,
                    });
                    break;
                }
            }
            end += INPUT_HEAD + input.len();
            inputs += 1;
            self.position += 1;
        }
        if inputs > 0 {
            let written = self
                .segment
                .write(&mut self.frame[..end], inputs, self.last);
            written.map_err(|error| self.io(error))?;
            self.frame.drain(FRAME_HEAD..end);
        }
        if let Some(unreadable) = unreadable {
            self.publish()?;
            return Err(unreadable);
        }
        if self.segment.bytes >= self.options.segment_bytes {
            self.segment = match self.segment.next(self.position, self.last) {
                Ok(next) => next,
                Err((file, error)) => return Err(self.failed(file, error)),
            };
        }
        Ok(())
    }

    /// Makes what was written durable and says so.
    fn publish(&mut self) -> Result<(), WriteError> {
        if self.options.durability == Durability::Disk {
            self.segment.sync().map_err(|error| self.io(error))?;
        }
        self.progress.state().recorded = self.position;
        self.progress.changed.notify_all();
        Ok(())
    }

    fn end(&mut self) -> Result<(), WriteError> {
        let end = self.progress.state().end;
        if let Some(time) = end {
            let marked = self.segment.mark(Mark::End, time);
            marked.map_err(|error| self.io(error))?;
        }
        self.publish()
    }

    fn io(&self, error: io::Error) -> WriteError {
        self.failed(self.segment.path.clone(), error)
    }

    fn failed(&self, file: PathBuf, error: io::Error) -> WriteError {
        WriteError::Io {
            file,
            error: Arc::new(error),
            recorded: self.progress.state().recorded,
        }
    }
}
