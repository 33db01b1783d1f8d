//! Records that are due later: their move to the streams of their topic, and their cancellation.

use redis::Value;
use tokio::time::{Instant, sleep};

use super::{link::Link, membership::Membership, scripts};
use static_bus_remote::transport::TransportError;

/// The largest number of records that one call moves. Other clients of the server wait for it.
const CALL: usize = 500;

/// Moves the records that are due, in calls of limited work until this time.
pub(super) async fn move_due(member: &Membership, until: Instant) -> Result<(), TransportError> {
    let keys = member.keys();
    let streams = keys.streams().iter().map(String::as_str);
    let mut call = scripts::DUE.call([keys.due(), keys.scheduled()].into_iter().chain(streams));
    call.arg(CALL);
    loop {
        let begun = Instant::now();
        let has_more = member.link().run(&scripts::DUE, &call).await? == Value::Int(1);
        if !has_more || Instant::now() >= until {
            return Ok(());
        }
        // Half of the server's time is left to others.
        sleep(begun.elapsed()).await;
    }
}

/// Removes the record with this cancellation key. Returns whether there was one.
pub(super) async fn cancel(
    link: &Link,
    due: &str,
    scheduled: &str,
    key: &str,
) -> Result<bool, TransportError> {
    let mut call = scripts::CANCEL.call([due, scheduled]);
    call.arg(key);
    Ok(link.run(&scripts::CANCEL, &call).await? == Value::Int(1))
}
