//! Fetches pending entries: those of former owners of a partition, released ones, those whose lease ran out, and those
//! of answers that were lost.
//!
//! Another member may have begun to handle an entry that it had, so each takeover counts as a delivery. The count is
//! changed when the entry is here: an answer that is lost counts nothing.

use std::collections::HashSet;

use redis::{Cmd, Value, cmd};
use tokio::time::Instant;

use super::{
    errors::is_missing,
    membership::Membership,
    replies::{Taken, pending_ids, taken_entries},
    scripts::{self, Lua},
    wire::{EntryId, size},
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
    for _ in 0..20 {
        let cursor = {
            let streams = member.streams();
            match streams.reclaim_cursor() {
                Some(cursor) if !streams.is_ready() => cursor,
                _ => return Ok(()),
            }
        };
        let reclaimed = reclaim(member, cursor, max).await;
        if reclaimed.is_err() {
            // The entries may be this member's.
            member.streams().search_shared();
        }
        reclaimed?;
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
        let asked = &unknown[..unknown.len().min(max)];
        let looked_at = take(member, stream, asked).await?;
        let last = match looked_at {
            Some(number) if number < unknown.len() => match number {
                0 => Some(position),
                _ => Some(unknown[number - 1]),
            },
            _ if pending.len() < PAGE => None,
            _ => pending.last().copied(),
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

/// Takes entries over by their ids. Returns the number of ids that were looked at; `None` if the group was missing.
async fn take(
    member: &Membership,
    stream: usize,
    ids: &[EntryId],
) -> Result<Option<usize>, TransportError> {
    if ids.is_empty() {
        return Ok(Some(0));
    }
    let mut call = scripts::TAKE.call([&member.keys().streams()[stream]]);
    call.arg(member.group()).arg(member.name());
    call.arg(if stream == 0 { member.name() } else { "" });
    call.arg(member.budget().bytes()).arg(ids);
    let until = later(Instant::now(), member.lease());
    let (looked_at, taken) = match run(member, &scripts::TAKE, &call).await? {
        Some((Value::Int(number), taken)) => (usize::try_from(number).ok(), taken),
        _ => return Ok(None),
    };
    let counted = {
        let streams = member.streams();
        let is_lost = |taken: &Taken| {
            let is_own = taken.owner == member.name().as_bytes();
            is_own && !streams.was_handed_out(stream, taken.entry.id)
        };
        let counted = taken.iter().filter(|taken| !is_lost(taken));
        counted.map(|taken| taken.entry.id).collect::<HashSet<_>>()
    };
    count(member, stream, &taken, &counted).await?;
    let entries = taken.into_iter().map(|taken| {
        let is_counted = counted.contains(&taken.entry.id);
        (taken.entry, taken.count + u32::from(is_counted))
    });
    member.streams().insert(stream, entries, until);
    Ok(looked_at)
}

/// Takes over entries of the shared stream whose lease ran out.
async fn reclaim(member: &Membership, cursor: String, max: usize) -> Result<(), TransportError> {
    let mut call = scripts::RECLAIM.call([&member.keys().streams()[0]]);
    call.arg(member.group()).arg(member.name());
    call.arg(millis(member.lease()));
    call.arg(cursor).arg(max).arg(member.budget().bytes());
    let until = later(Instant::now(), member.lease());
    let (next, taken) = run(member, &scripts::RECLAIM, &call)
        .await?
        .unwrap_or_default();
    let all = taken.iter().map(|taken| taken.entry.id).collect();
    count(member, 0, &taken, &all).await?;
    let next = match next {
        Value::BulkString(next) if next != b"0-0" => String::from_utf8(next).ok(),
        _ => None,
    };
    let mut streams = member.streams();
    streams.set_reclaim_cursor(next, member.beat());
    for Taken { entry, .. } in &taken {
        // By the server's clock the lease ran out, also one of this member.
        streams.settle(0, entry.id);
    }
    let entries = taken
        .into_iter()
        .map(|taken| (taken.entry, taken.count + 1));
    streams.insert(0, entries, until);
    Ok(())
}

/// Runs a script that takes entries over. Returns the first part of its reply, and the entries; `None` if the group was
/// missing.
async fn run(
    member: &Membership,
    script: &Lua,
    call: &Cmd,
) -> Result<Option<(Value, Vec<Taken>)>, TransportError> {
    let (budget, begun) = (member.budget(), Instant::now());
    let limit = budget.limit(member.server().deadline());
    let answer = member.run_on_group(script, call, limit).await;
    if answer.is_err() && begun.elapsed() >= limit {
        budget.unanswered();
    }
    let Some(Value::Array(parts)) = answer? else {
        return Ok(None);
    };
    let mut parts = parts.into_iter();
    let head = parts.next().unwrap_or_default();
    let taken = taken_entries(parts);
    let sizes = taken.iter().map(|taken| size(&taken.entry.record));
    budget.answered(sizes, begun.elapsed(), limit);
    Ok(Some((head, taken)))
}

/// Counts a delivery of those entries that were taken over from another member, or from this one after it had handed
/// them out.
async fn count(
    member: &Membership,
    stream: usize,
    taken: &[Taken],
    counted: &HashSet<EntryId>,
) -> Result<(), TransportError> {
    if counted.is_empty() {
        return Ok(());
    }
    let mut call = scripts::COUNT.call([&member.keys().streams()[stream]]);
    call.arg(member.group()).arg(member.name());
    for Taken { entry, count, .. } in taken {
        if counted.contains(&entry.id) {
            call.arg(entry.id).arg(count + 1);
        }
    }
    let limit = member.server().deadline();
    member.run_on_group(&scripts::COUNT, &call, limit).await?;
    Ok(())
}
