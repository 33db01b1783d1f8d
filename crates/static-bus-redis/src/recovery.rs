//! Fetches pending entries: those of former owners of a partition, released ones, and those whose lease ran out.

use redis::{Value, cmd};
use tokio::time::Instant;

use super::{
    membership::{Membership, is_missing},
    receipt::RedisReceipt,
    replies::{counted_entries, pending_ids},
    scripts,
    wire::EntryId,
};
use static_bus_remote::{
    time::{later, millis},
    transport::TransportError,
};

/// The number of pending entries that one call looks at.
const PAGE: usize = 1000;

/// Fetches up to `max` pending entries that no member holds.
pub(super) async fn recover(member: &Membership, max: usize) -> Result<(), TransportError> {
    for stream in 0..member.keys().streams().len() {
        if member.streams().searching(stream).is_none() {
            continue;
        }
        member.streams().begin_read(&[stream]);
        let result = search(member, stream, max).await;
        member.streams().end_read(&[stream]);
        result?;
    }
    // `XAUTOCLAIM` looks at ten times as many entries as it may return.
    for _ in 0..20 {
        let cursor = {
            let streams = member.streams();
            match streams.reclaim_cursor() {
                Some(cursor) if !streams.is_ready() => cursor,
                _ => return Ok(()),
            }
        };
        reclaim(member, cursor, max).await?;
    }
    Ok(())
}

/// Searches a stream for pending entries that this member does not have, until one can be handed out: in a
/// partition all that are pending, in the shared stream those of its name.
async fn search(member: &Membership, stream: usize, max: usize) -> Result<(), TransportError> {
    loop {
        let (position, number) = {
            let streams = member.streams();
            match streams.searching(stream) {
                Some(search) if !streams.is_ready() => search,
                _ => return Ok(()),
            }
        };
        let pending = pending_after(member, stream, position).await?;
        let mut unknown = pending.clone();
        {
            let streams = member.streams();
            unknown.retain(|id| !streams.has(stream, *id));
        }
        let is_cut = unknown.len() > max;
        unknown.truncate(max);
        take(member, stream, &unknown).await?;
        let last = match is_cut {
            true => unknown.last().copied(),
            false if pending.len() < PAGE => None,
            false => pending.last().copied(),
        };
        member.streams().searched(stream, number, last);
    }
}

/// A page of the ids that are pending after a position.
async fn pending_after(
    member: &Membership,
    stream: usize,
    position: EntryId,
) -> Result<Vec<EntryId>, TransportError> {
    let mut command = cmd("XPENDING");
    command.arg(&member.keys().streams()[stream]);
    command.arg(member.group());
    command.arg(format!("({position}")).arg("+").arg(PAGE);
    if stream == 0 {
        command.arg(member.name());
    }
    match member.link().attempt(&command).await? {
        Ok(pending) => Ok(pending_ids(pending)),
        Err(e) if is_missing(&e) => member.recreate().await.map(|()| Vec::new()),
        Err(e) => Err(member.server().error(&e)),
    }
}

/// Takes entries over by their ids.
async fn take(member: &Membership, stream: usize, ids: &[EntryId]) -> Result<(), TransportError> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut call = scripts::TAKE.call([&member.keys().streams()[stream]]);
    call.arg(member.group()).arg(member.name());
    call.arg(if stream == 0 { member.name() } else { "" });
    call.arg(ids);
    let until = later(Instant::now(), member.lease());
    let answer = member.run_on_group(&scripts::TAKE, &call).await?;
    if let Some(Value::Array(entries)) = answer {
        let entries = counted_entries(entries);
        member.streams().insert(stream, entries, until);
    }
    Ok(())
}

/// Takes over entries of the shared stream whose lease ran out.
async fn reclaim(member: &Membership, cursor: String, max: usize) -> Result<(), TransportError> {
    let mut call = scripts::RECLAIM.call([&member.keys().streams()[0]]);
    call.arg(member.group()).arg(member.name());
    call.arg(millis(member.lease()));
    call.arg(cursor).arg(max);
    let until = later(Instant::now(), member.lease());
    let answer = member.run_on_group(&scripts::RECLAIM, &call).await?;
    let mut parts = match answer {
        Some(Value::Array(parts)) => parts.into_iter(),
        _ => Vec::new().into_iter(),
    };
    let next = match parts.next() {
        Some(Value::BulkString(next)) if next != b"0-0" => String::from_utf8(next).ok(),
        _ => None,
    };
    let entries = counted_entries(parts);
    let mut streams = member.streams();
    streams.set_reclaim_cursor(next, member.beat());
    for (entry, _) in &entries {
        // By the server's clock the lease ran out, also one of this member.
        streams.settle(&RedisReceipt::new(0, entry.id));
    }
    streams.insert(0, entries, until);
    Ok(())
}
