//! Tests of modules across processes: a broker whose faults come from a seed, and a search for the seeds that fail.
//!
//! - [`SimBroker`]: a [`MemoryBroker`](crate::MemoryBroker) that kills processes, cuts them off, refuses their calls, and
//!   duplicates and delays messages, within the contract of an engine.
//! - [`sim::search`]: runs a scenario for each seed, in simulated time. The first failure is reduced to the faults that
//!   it needs, which are reported in words.
//!
//! The feature `testing` belongs in the dev-dependencies: it turns on tokio's `test-util`.
//!
//! ```
//! use std::{collections::HashSet, sync::{Arc, Mutex}, time::Duration};
//! use serde::{Deserialize, Serialize};
//! use static_bus::prelude::*;
//! use static_bus_remote::{RemoteBus, Worker, testing::{SimBroker, sim}};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Pay { invoice: u32 }
//! command!(Pay);
//!
//! /// The invoices that were paid, as a database of the service.
//! type Paid = Arc<Mutex<Vec<u32>>>;
//!
//! async fn invoices_are_paid_once(sim: SimBroker, is_idempotent: bool) -> Result<(), String> {
//!     let paid = Paid::default();
//!     let database = paid.clone();
//!     sim.process("billing", move |broker| {
//!         let paid = database.clone();
//!         let bus = BusBuilder::new()
//!             .register_command_fn(move |Pay { invoice }: Pay| {
//!                 let mut paid = paid.lock().unwrap();
//!                 if !is_idempotent || !paid.contains(&invoice) {
//!                     paid.push(invoice);
//!                 }
//!             })
//!             .build();
//!         Worker::new(broker, bus).command::<Pay>().start()
//!     })
//!     .await
//!     .map_err(|error| error.to_string())?;
//!
//!     let remote = RemoteBus::connect(sim.clone()).await.map_err(|error| error.to_string())?;
//!     for invoice in 0..3 {
//!         remote.execute_async(Pay { invoice }).await.map_err(|error| error.to_string())?;
//!     }
//!     sim.until_quiet(Duration::from_secs(600)).await.map_err(|error| error.to_string())?;
//!     match paid.lock().unwrap().len() {
//!         3 => Ok(()),
//!         times => Err(format!("3 invoices were paid {times} times")),
//!     }
//! }
//!
//! sim::search(0..100, |sim| invoices_are_paid_once(sim, true));
//!
//! let failure = sim::find(0..100, |sim| invoices_are_paid_once(sim, false)).unwrap();
//! assert_eq!(failure.error(), "3 invoices were paid 4 times");
//! assert_eq!(failure.faults().len(), 1);
//! ```

mod broker;
mod consumer;
mod faults;
mod held;
mod process;
mod schedule;
pub mod sim;

pub use broker::SimBroker;
pub use consumer::{SimConsumer, SimReceiver};
pub use faults::{Fault, Faults, InjectedFault};
