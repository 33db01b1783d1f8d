//! Records inputs: the bus's thread encodes them, and another thread writes them.

mod error;
mod segment;
mod thread;

pub use error::WriteError;
pub(super) use segment::Segment;

use super::check::{Unfit, check_binary};
use super::format::{FRAME_HEAD, INPUT_HEAD, LARGEST, between};
use super::reader::decode;
use super::{LogError, OnError, Options, SnapshotError, snapshot};
use crate::mailbox::Names;
use crate::time::Time;
use alloc::{sync::Arc, vec, vec::Vec};
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use rtrb::{Producer, RingBuffer};
use serde::{Serialize, de::DeserializeOwned, ser};
use std::path::Path;
use std::thread::{Builder, JoinHandle, sleep};
use thread::{Progress, Thread};

/// Records inputs in a log; made by [`Options::create`] and [`Options::append`].
///
/// [`record`](Writer::record) encodes an input into a buffer and returns. It allocates nothing, unless an
/// input is larger than all before. A thread takes inputs from the buffer, writes them, and reads each
/// one back from the bytes that it writes.
///
/// An input is *recorded* once it was flushed: after [`flush_every`](Options::flush_every),
/// [`flush_after`](Options::flush_after) inputs, a quarter of the buffer, or [`flush`](Writer::flush).
/// [`recorded`](Writer::recorded) counts these inputs, which survive what the
/// [`Durability`](super::Durability) says.
///
/// Dropping a writer flushes it, and loses the error of that flush; [`end`](Writer::end) returns it.
pub struct Writer<M> {
    // Dropped before the thread, which ends then.
    buffer: Producer<u8>,
    thread: Joined,
    progress: Arc<Progress>,
    options: Options,
    /// The identity of the log.
    id: u64,
    /// The bytes of an input.
    bytes: Vec<u8>,
    position: u64,
    last: Time,
    /// The position at which the thread is woken, and the number of bytes since it was.
    wake_at: u64,
    unflushed: usize,
    message: PhantomData<fn(&M)>,
}

impl<M: Names + Serialize + DeserializeOwned> Writer<M> {
    pub(super) fn new(
        options: Options,
        segment: Segment,
        position: u64,
        last: Time,
    ) -> Result<Self, LogError> {
        let (buffer, consumer) = RingBuffer::new(options.buffer_bytes);
        let progress = Arc::new(Progress::at(position));
        let (id, path) = (segment.id, segment.path.clone());
        let thread = Thread {
            options: options.clone(),
            segment,
            buffer: consumer,
            progress: Arc::clone(&progress),
            read_back: |bytes| decode::<M>(bytes).map(drop),
            position,
            last,
            frame: vec![0; FRAME_HEAD],
        };
        let spawned = Builder::new()
            .name("static-bus log".into())
            .spawn(|| thread.run());
        Ok(Writer {
            buffer,
            thread: Joined(Some(spawned.map_err(|error| LogError::io(&path, error))?)),
            progress,
            id,
            bytes: vec![0; 256],
            position,
            last,
            wake_at: position.saturating_add(options.flush_after),
            unflushed: 0,
            options,
            message: PhantomData,
        })
    }
}

impl<M: Serialize> Writer<M> {
    /// Records an input; waits while the buffer is full.
    ///
    /// # Errors
    ///
    /// [`WriteError`]: the input is not recorded, so it must not be delivered. With
    /// [`OnError::Continue`], this returns `Ok` and records nothing from the first error on.
    #[inline]
    pub fn record(&mut self, time: Time, input: &M) -> Result<(), WriteError> {
        if self.buffer.is_abandoned() {
            return self.ended();
        }
        if time < self.last {
            let last = self.last;
            return self.refuse(WriteError::Late { time, last });
        }
        let length = match self.encode(between(self.last, time), input) {
            Ok(length) => length,
            Err(unfit) => {
                let (path, reason) = unfit.in_input::<M>();
                return self.refuse(WriteError::Value { time, path, reason });
            }
        };
        let pushed = self.buffer.push_entire_slice(&self.bytes[..length]);
        if pushed.is_err() && !self.push_in_parts(length) {
            return self.ended();
        }
        self.last = time;
        self.position += 1;
        self.unflushed += length;
        if self.position >= self.wake_at || self.unflushed > self.options.buffer_bytes / 4 {
            self.wake();
        }
        Ok(())
    }

    /// Encodes an input in `bytes`; returns its length.
    #[inline]
    fn encode(&mut self, nanos: u64, input: &M) -> Result<usize, Unfit> {
        check_binary(input)?;
        loop {
            let (head, room) = self.bytes.split_at_mut(INPUT_HEAD);
            match postcard::to_slice(&(nanos, input), room) {
                Ok(written) => {
                    head.copy_from_slice(&(written.len() as u32).to_le_bytes());
                    return Ok(INPUT_HEAD + written.len());
                }
                Err(postcard::Error::SerializeBufferFull) => self.grow()?,
                Err(error) => return Err(ser::Error::custom(error)),
            }
        }
    }
}

impl<M> Writer<M> {
    /// The number of inputs in the log, with those that are not yet [`recorded`](Writer::recorded).
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The number of inputs in the log that survive what the [`Durability`](super::Durability) says.
    pub fn recorded(&self) -> u64 {
        self.progress.state().recorded
    }

    /// The error that ended the recording.
    pub fn failure(&self) -> Option<WriteError> {
        self.progress.state().failure.clone()
    }

    /// Waits until all inputs are recorded.
    ///
    /// # Errors
    ///
    /// [`WriteError`] if recording has ended, with [`OnError::Continue`] as well.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.wake();
        let failure = self.progress.wait_for(self.position).failure.clone();
        if failure.is_some() {
            self.close();
        }
        failure.map_or(Ok(()), Err)
    }

    /// Saves a state of the bus together with the position of the log. Flushes first. Replaces the file:
    /// after a crash there is the snapshot before or this one.
    ///
    /// The state must be that after the last input that was recorded, with the bus quiescent: between two
    /// runs, or in the callback of a run. A [`Timeline`](crate::time::Timeline) belongs to the state.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]. Recording continues, unless the error is one of the flush.
    pub fn snapshot(
        &mut self,
        file: impl AsRef<Path>,
        state: &impl Serialize,
    ) -> Result<(), SnapshotError> {
        self.flush()?;
        snapshot::save(file.as_ref(), self.id, self.position, self.last, state)
    }

    /// Records the time at which the run ended, and closes the log. A replay until that time delivers the
    /// same messages of the timeline after the last input.
    ///
    /// # Errors
    ///
    /// [`WriteError`] if not all inputs and the end are recorded.
    pub fn end(self, time: Time) -> Result<(), WriteError> {
        let last = self.last;
        if time < last {
            return Err(WriteError::Late { time, last });
        }
        let Writer {
            buffer,
            thread,
            progress,
            ..
        } = self;
        progress.state().end = Some(time);
        drop(buffer);
        drop(thread);
        let failure = progress.state().failure.take();
        failure.map_or(Ok(()), Err)
    }

    /// Lets the thread flush now.
    #[cold]
    fn wake(&mut self) {
        self.thread.wake();
        self.wake_at = self.position.saturating_add(self.options.flush_after);
        self.unflushed = 0;
    }

    /// Makes room for a larger input.
    #[cold]
    fn grow(&mut self) -> Result<(), Unfit> {
        let length = self.bytes.len();
        if length > LARGEST {
            return Err(Unfit::too_large());
        }
        self.bytes.resize(2 * length, 0);
        Ok(())
    }

    /// Pushes the first bytes of `bytes` as there is room; false if recording has ended.
    #[cold]
    fn push_in_parts(&mut self, length: usize) -> bool {
        let mut rest = &self.bytes[..length];
        loop {
            rest = self.buffer.push_partial_slice(rest).1;
            if rest.is_empty() || self.buffer.is_abandoned() {
                return rest.is_empty();
            }
            self.thread.wake();
            sleep(FULL_BUFFER_PAUSE);
        }
    }

    /// Leaves the buffer to the thread, which writes what is in it and ends.
    fn close(&mut self) {
        self.buffer = RingBuffer::new(0).0;
    }

    /// The result for an input after the recording has ended.
    #[cold]
    fn ended(&self) -> Result<(), WriteError> {
        match self.options.on_error {
            OnError::Stop => Err(self.failure().unwrap_or(WriteError::Panicked)),
            OnError::Continue(_) => Ok(()),
        }
    }

    /// The result for an input that cannot be recorded.
    #[cold]
    fn refuse(&mut self, error: WriteError) -> Result<(), WriteError> {
        if let OnError::Continue(_) = self.options.on_error {
            self.progress.fail(error, self.options.on_error);
            self.close();
            return Ok(());
        }
        Err(error)
    }
}

#[cfg(feature = "live")]
impl<M: Serialize> crate::live::Record<M> for Writer<M> {
    type Error = WriteError;
    #[inline]
    fn record(&mut self, time: Time, input: &M) -> Result<(), WriteError> {
        Writer::record(self, time, input)
    }
}

impl<M> fmt::Debug for Writer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Writer");
        debug.field("position", &self.position);
        debug
            .field("recorded", &self.recorded())
            .finish_non_exhaustive()
    }
}

/// The pause between two looks at a full buffer.
const FULL_BUFFER_PAUSE: Duration = Duration::from_micros(50);

/// The thread, which has ended when this is dropped.
struct Joined(Option<JoinHandle<()>>);

impl Joined {
    fn wake(&self) {
        if let Some(thread) = &self.0 {
            thread.thread().unpark();
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.wake();
        if let Some(thread) = self.0.take() {
            // It catches its panics.
            let _ = thread.join();
        }
    }
}
