//! The demand of a consumer's caller, and the signals between caller, reader and heartbeat.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::server::ReaderId;
use static_bus_remote::{lock::lock, transport::TransportError};

/// The entries that a caller waits for, and the progress of the reader that fetches them.
pub(super) struct Demand {
    state: Mutex<State>,
    reader: Notify,
    heartbeat: Notify,
    caller: Notify,
    is_closed: AtomicBool,
}

struct State {
    wanted: Option<(usize, Instant)>,
    /// The time of the caller's last call.
    called: Instant,
    /// The number of reads that were answered.
    rounds: u64,
    /// The failure of the last read.
    trouble: Option<TransportError>,
    /// The connection on which a read blocks.
    blocked: Option<ReaderId>,
}

/// A call that waits for entries, until it is dropped.
pub(super) struct Wanted<'a> {
    demand: &'a Demand,
    round: u64,
}

impl Demand {
    pub fn new() -> Self {
        Demand {
            state: Mutex::new(State {
                wanted: None,
                called: Instant::now(),
                rounds: 0,
                trouble: None,
                blocked: None,
            }),
            reader: Notify::new(),
            heartbeat: Notify::new(),
            caller: Notify::new(),
            is_closed: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    // The caller.

    /// Records a call. Wakes the heartbeat if the last one was longer than `pause` ago: the member may have no
    /// partitions any more.
    pub fn call(&self, pause: Duration) {
        let mut state = self.state();
        if state.called.elapsed() > pause {
            self.heartbeat.notify_one();
        }
        state.called = Instant::now();
    }

    /// Asks for up to `max` entries until `end`.
    pub fn want(&self, max: usize, end: Instant) -> Wanted<'_> {
        let mut state = self.state();
        state.wanted = Some((max, end));
        Wanted {
            demand: self,
            round: state.rounds,
        }
    }

    /// The failure of the last read.
    pub fn trouble(&self) -> Option<TransportError> {
        self.state().trouble.clone()
    }

    /// Waits until the reader reports.
    pub async fn fetched(&self) {
        self.caller.notified().await;
    }

    pub fn wake_reader(&self) {
        self.reader.notify_one();
    }

    /// Ends caller and reader. Returns whether it was closed before.
    pub fn close(&self) -> bool {
        let was_closed = self.is_closed.swap(true, Ordering::AcqRel);
        self.caller.notify_one();
        self.reader.notify_one();
        was_closed
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// The connection on which a read blocks.
    pub fn blocked(&self) -> Option<ReaderId> {
        self.state().blocked.clone()
    }

    // The reader.

    /// The number of entries that the caller waits for, and the end of its wait.
    pub fn wanted(&self) -> Option<(usize, Instant)> {
        self.state().wanted
    }

    /// Waits until there may be something to fetch.
    pub async fn reader_woken(&self) {
        self.reader.notified().await;
    }

    pub fn wake_caller(&self) {
        self.caller.notify_one();
    }

    /// Reports the end of an attempt to fetch entries.
    pub fn report(&self, result: Result<(), TransportError>) {
        self.state().trouble = result.err();
        self.wake_caller();
    }

    pub fn begin_read(&self, connection: Option<ReaderId>) {
        self.state().blocked = connection;
    }

    pub fn end_read(&self, is_answered: bool) {
        let mut state = self.state();
        state.blocked = None;
        state.rounds += u64::from(is_answered);
    }

    // The heartbeat.

    /// Returns whether the caller waits for entries, or has called within this time.
    pub fn is_recent(&self, patience: Duration) -> bool {
        let state = self.state();
        state.wanted.is_some() || state.called.elapsed() < patience
    }

    /// Waits until the caller calls again after a pause, but no longer than `beat`.
    pub async fn heartbeat_woken(&self, beat: Duration) {
        let _ = timeout(beat, self.heartbeat.notified()).await;
    }
}

impl Wanted<'_> {
    /// Returns whether the server has answered a read since the call began.
    pub fn is_answered(&self) -> bool {
        self.demand.state().rounds > self.round
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.demand.state().wanted = None;
    }
}
