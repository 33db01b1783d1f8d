//! Real time and several threads, with feature `live`.
//!
//! - [`channel()`] carries messages into a bus from other threads.
//! - [`Live`] drives a bus from such messages and a timeline, in real time.

mod channel;
mod clock;
mod error;
mod inputs;
mod record;
mod report;
mod run;
mod stop;
mod watch;

pub use channel::{Carried, PostError, Receiver, Sender, TryPostError, Undelivered, Wait, channel};
pub use clock::{Clock, RealTime};
pub use error::LiveError;
pub use inputs::Inputs;
pub use record::Record;
pub use report::{Lateness, LiveReport, Slow};
pub use run::{Live, Parts};
pub use stop::StopHandle;
