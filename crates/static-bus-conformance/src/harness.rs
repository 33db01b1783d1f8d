//! The broker under test.

use static_bus_remote::Transport;

use super::capabilities::Capabilities;

/// A broker for one case, or a part of a broker that no other case uses.
pub trait Harness: Sync {
    /// The engine.
    type Transport: Transport;

    /// A further connection, as of another process. An engine within this process returns a
    /// handle to the same broker.
    fn connect(&self) -> impl Future<Output = Self::Transport> + Send;

    /// The capabilities of the engine.
    fn capabilities(&self) -> Capabilities;

    /// `true` if [`restart`](Harness::restart) is implemented. Default: `false`.
    fn restarts(&self) -> bool {
        false
    }

    /// Kills the broker, and starts it again with its stored records.
    fn restart(&self) -> impl Future<Output = ()> + Send {
        async { unreachable!("a harness whose broker restarts implements this") }
    }

    /// `true` if cases may be skipped; otherwise a skipped case fails. Default: `true`.
    fn may_skip(&self) -> bool {
        true
    }
}
