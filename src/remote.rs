//! Dispatch across processes: the same messages and the same handlers, with a broker between them.

mod headers;
pub mod transport;

pub use headers::Headers;
pub use transport::Transport;
