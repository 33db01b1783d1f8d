//! Failures, and the exit status of each.

use static_bus_remote::TransportError;

/// The reason for which a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The broker cannot be reached, or it refuses.
    #[error("{0}")]
    Broker(#[from] TransportError),
    /// The command was not done completely.
    #[error("{0}")]
    Incomplete(String),
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    pub fn exit_status(&self) -> u8 {
        match self {
            Failure::Broker(_) | Failure::Incomplete(_) => 1,
            Failure::Usage(_) => 2,
            // The reader has ended, as `head` does.
            Failure::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe => 0,
            Failure::Output(_) => 1,
        }
    }
}
