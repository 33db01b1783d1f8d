//! The stop of a run: it closes the connection to the feed, and all else follows from that.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Clone, Default)]
pub struct Stop(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    requested: bool,
    stream: Option<TcpStream>,
}

impl Stop {
    pub fn request(&self) {
        let mut state = self.state();
        state.requested = true;
        state.close();
    }

    pub fn is_requested(&self) -> bool {
        self.state().requested
    }

    /// Makes this connection the one that a stop closes.
    pub(super) fn closes(&self, stream: TcpStream) {
        let mut state = self.state();
        state.stream = Some(stream);
        if state.requested {
            state.close();
        }
    }

    /// No code that may panic runs under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&self) {
        if let Some(stream) = &self.stream {
            // An error means that the connection is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
