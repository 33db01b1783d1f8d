//! Dispatch across processes: the same messages and the same handlers, with a broker between them.
//!
//! A module that asks for `AsyncSendQuery<GetUser>` does not know whether the answer comes from this
//! process. [`RemoteBus`] sends messages to a broker, as a bus or as the handler of single messages of a
//! bus; a [`Worker`] takes them from there and gives them to a bus of its own process. So a module moves to
//! another process by a change of wiring:
//!
//! ```
//! # use static_bus::prelude::*;
//! # use static_bus_remote::{MemoryBroker, RemoteBus, Worker};
//! # use serde::{Serialize, Deserialize};
//! # #[derive(Serialize, Deserialize)] pub struct GetUser { user: u32 }
//! # query!(GetUser -> Option<String>, name = "users.get");
//! # mod users {
//! #     use static_bus::prelude::*;
//! #     pub struct Users;
//! #     impl<B> QueryHandler<super::GetUser, B> for Users {
//! #         fn handle(&self, _: super::GetUser, _: &B) -> Option<String> { Some("Ada".to_owned()) }
//! #     }
//! #     pub fn module() -> HList![OnQuery<super::GetUser, Users>] { hlist![on_query(Users)] }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = MemoryBroker::new();
//!
//! // Before: one process.
//! let bus = BusBuilder::new().mount(users::module()).build();
//! assert!(bus.send_async(GetUser { user: 7 }).await?.is_some());
//!
//! // After: one process that has the module,
//! let bus = BusBuilder::new().mount(users::module()).build();
//! let worker = Worker::new(broker.clone(), bus).query::<GetUser>().start().await?;
//!
//! // and one that has a line for each message of it.
//! let remote = RemoteBus::connect(broker).await?;
//! let bus = BusBuilder::new().register_query_async::<GetUser, _>(remote).build();
//! assert!(bus.send_async(GetUser { user: 7 }).await?.is_some());
//! # worker.shutdown(std::time::Duration::from_secs(1)).await;
//! # Ok(())
//! # }
//! ```
//!
//! | what | delivered | `Ok` says |
//! |---|---|---|
//! | query | at most once, before its deadline | here is the answer |
//! | command | at least once, to one worker; duplicates are recognised | the broker has it |
//! | event | at least once to each subscriber that exists; duplicates are recognised | the broker has it |
//!
//! [`Later`] sends a command or an event at a time or after a delay.
//!
//! A broker engine is a [`Transport`]: [`MemoryBroker`] within this process, for development and tests, Redis in the
//! crate `static-bus-redis`, Apache Kafka in `static-bus-kafka`, PostgreSQL and SQLite in `static-bus-sql`. Client and worker
//! are written once, for all engines. The contract of an engine is in [`transport`]; the crate `static-bus-conformance`
//! tests it.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

mod client;
mod codec;
mod context;
mod dead_letters;
mod envelope;
mod error_text;
mod headers;
mod later;
mod layered;
#[doc(hidden)]
pub mod lock;
pub mod memory;
mod outbound;
mod pending;
mod per_message;
mod received;
mod reply;
#[doc(hidden)]
pub mod retry;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
#[doc(hidden)]
pub mod time;
#[cfg(feature = "opentelemetry")]
mod trace;
pub mod transport;
mod worker;

pub use client::{HeaderError, RemoteBus, RemoteBusBuilder, TransactionBus};
pub use codec::Codec;
pub use context::{current, current_scope, with_scope};
#[doc(hidden)]
pub use dead_letters::DEAD_LETTERS;
pub use dead_letters::{DeadLetter, DeadLetterFilter, DeadLetterSearch, DeadLetters};
pub use envelope::{Envelope, EnvelopeError};
pub use headers::Headers;
#[doc(hidden)]
pub use later::LaterKey;
pub use later::{Later, Scheduler, SendLater};
pub use layered::LayeredRemote;
pub use memory::MemoryBroker;
pub use retry::RetryPolicy;
pub use transport::{Due, Transactional, Transport, TransportError, TransportErrorKind};
pub use worker::{Health, MessageSettings, RunningHandler, ShutdownReport, Worker, WorkerHandle};

#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/one-process-to-many.md")]
    mod one_process_to_many {}
    #[doc = include_str!("../../../docs/guide/src/delivery-guarantees.md")]
    mod delivery_guarantees {}
    // Its code pauses tokio's time.
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../../docs/guide/src/process-managers.md")]
    mod process_managers {}
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../../docs/guide/src/testing-your-modules.md")]
    mod testing_your_modules {}
    // Its code needs each of the features that it is about.
    #[cfg(feature = "opentelemetry")]
    #[doc = include_str!("../../../docs/guide/src/observing-a-service.md")]
    mod observing_a_service {}
}
