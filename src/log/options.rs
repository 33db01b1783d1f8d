//! The choices of a log that is written.

use super::writer::{Segment, Writer};
use super::{LogError, WriteError, files, frames::Frames};
use crate::mailbox::Names;
use crate::time::Time;
use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use serde::{Serialize, de::DeserializeOwned};
use std::hash::RandomState;
use std::path::Path;

/// The choices of a log that is written, and the ways to open it.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # use static_bus::prelude::*;
/// # #[derive(Serialize, Deserialize)]
/// # struct Tick;
/// # event!(Tick);
/// # mailbox! { #[derive(Serialize, Deserialize)] enum Input { event Tick } }
/// use static_bus::log::{Durability, Options, Writer};
/// use std::time::Duration;
///
/// let options = Options::new().durability(Durability::Disk).flush_every(Duration::from_millis(5));
/// let writer: Writer<Input> = options.create("run")?;
/// # Ok::<_, static_bus::log::LogError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) segment_bytes: u64,
    pub(super) buffer_bytes: usize,
    pub(super) flush_every: Duration,
    pub(super) flush_after: u64,
    pub(super) durability: Durability,
    pub(super) on_error: OnError,
}

/// What an input that is [`recorded`](Writer::recorded) survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, by a signal too: the operating system has the input.
    Process,
    /// A loss of power as well: each flush ends with `fdatasync`.
    Disk,
}

/// The reaction to a log that cannot be written any more.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum OnError {
    /// [`record`](Writer::record) returns the error, and the input is not delivered.
    Stop,
    /// Recording ends, and the function is called with the error, once. [`record`](Writer::record)
    /// returns `Ok` from then on, and the run continues without a log.
    Continue(fn(&WriteError)),
}

impl Options {
    /// Segments of 64 MiB, a buffer of 1 MiB, a flush after 10 ms, [`Durability::Process`] and
    /// [`OnError::Stop`].
    pub fn new() -> Self {
        Options {
            segment_bytes: 64 << 20,
            buffer_bytes: 1 << 20,
            flush_every: Duration::from_millis(10),
            flush_after: u64::MAX,
            durability: Durability::Process,
            on_error: OnError::Stop,
        }
    }

    /// The size from which on a new segment is begun, in bytes. A segment is at most twice as large, unless
    /// one input is.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// The size of the buffer between the bus and the thread that writes, in bytes. While it is full,
    /// [`record`](Writer::record) waits.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes.max(1);
        self
    }

    /// The longest time until an input is flushed, from its recording to the begin of the flush.
    pub fn flush_every(mut self, time: Duration) -> Self {
        self.flush_every = time;
        self
    }

    /// The number of inputs after which a flush begins before its time.
    pub fn flush_after(mut self, inputs: u64) -> Self {
        self.flush_after = inputs.max(1);
        self
    }

    /// What an input that is recorded survives.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The reaction to a log that cannot be written any more.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Creates a log: `create("runs/monday")` begins the file `runs/monday.000001.log`.
    ///
    /// # Errors
    ///
    /// [`LogError`] if the log exists, or if its file cannot be created.
    pub fn create<M>(self, log: impl AsRef<Path>) -> Result<Writer<M>, LogError>
    where
        M: Names + Serialize + DeserializeOwned,
    {
        let log = log.as_ref();
        if let Some((_, file)) = files::existing(log)?.pop() {
            return Err(LogError::Exists { file });
        }
        let id = RandomState::new().build_hasher().finish();
        let segment = Segment::first(log, id, M::NAMES)?;
        Writer::new(self, segment, 0, Time::MIN)
    }

    /// Continues a log in a new segment. A frame at its end that is not whole is cut off first.
    ///
    /// # Errors
    ///
    /// [`LogError`] if there is no log, if its last segment is damaged or has other messages, or if
    /// another writer has it open.
    pub fn append<M>(self, log: impl AsRef<Path>) -> Result<Writer<M>, LogError>
    where
        M: Names + Serialize + DeserializeOwned,
    {
        let (frames, tail) = Frames::tail(log.as_ref(), M::NAMES)?;
        let segment = Segment::after(&frames, tail.torn.map(|torn| torn.offset))?;
        Writer::new(self, segment, frames.position, frames.last)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
