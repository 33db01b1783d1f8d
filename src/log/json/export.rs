//! A log as JSON Lines.

use super::{RecordError, record};
use crate::time::Time;
use serde::Serialize;
use std::io::Write;

/// Writes all inputs as JSON Lines, and returns their number.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use static_bus::{log::{Options, Reader, json}, prelude::*, time::Time};
/// # #[derive(Serialize, Deserialize)]
/// # struct Deposit { amount: u32 }
/// # event!(Deposit);
/// # mailbox! { #[derive(Serialize, Deserialize)] enum Input { event Deposit } }
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("deposits");
/// # let mut writer = Options::new().create(&path)?;
/// # writer.record(Time::from_nanos(5), &Input::from(Deposit { amount: 70 }))?;
/// # drop(writer);
/// let mut file = Vec::new();
/// json::export(Reader::<Input>::open(&path)?, &mut file)?;
/// assert_eq!(file, b"[5,{\"Deposit\":{\"amount\":70}}]\n");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`RecordError`] at the first input that cannot be read, or that JSON cannot hold, such as one with NaN.
pub fn export<I, M, E, W>(inputs: I, writer: W) -> Result<u64, RecordError<E>>
where
    I: IntoIterator<Item = Result<(Time, M), E>>,
    M: Serialize,
    W: Write,
{
    record(inputs, writer).try_fold(0, |written, input| input.map(|_| written + 1))
}
