//! Dispatch across processes: the same messages and the same handlers, with a broker between them.

mod client;
mod codec;
mod context;
mod dead_letters;
mod envelope;
mod headers;
pub mod memory;
mod outbound;
mod pending;
mod reply;
mod retry;
pub mod transport;
mod worker;

pub use client::{RemoteBus, RemoteBusBuilder};
pub use codec::Codec;
pub use context::current;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use envelope::{Envelope, EnvelopeError};
pub use headers::Headers;
pub use memory::MemoryBroker;
pub use retry::Retries;
pub use transport::{Transport, TransportError};
pub use worker::{Health, Running, Shutdown, Worker};
