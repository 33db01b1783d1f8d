//! Fetches a member's entries: first what others left behind, then new ones.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use tokio::time::{Instant, sleep, timeout};

use super::{
    consumer::RedisReceipt,
    link::{Connection, ends_connection, late},
    scripts,
    scripts::Lua,
    state::Reclaim,
    stream::Group,
    wire::{self, Entry, EntryId},
};
use static_bus_remote::{
    time::{millis, now_millis},
    transport::TransportError,
};

/// Fetches entries whenever the caller wants some, until the member is closed.
pub(super) async fn run(group: Arc<Group>, connection: Connection) {
    let mut connection = Some(connection);
    while !group.closed.load(Ordering::Acquire) {
        let (wanted, ready) = {
            let state = group.state();
            (state.wanted, state.is_ready())
        };
        let Some((max, end)) = wanted.filter(|_| !ready) else {
            if ready && wanted.is_some() {
                group.fetched.notify_one();
            }
            group.wake_reader.notified().await;
            continue;
        };
        if let Err(trouble) = fetch(&group, &mut connection, max, end).await {
            group.state().trouble = Some(trouble);
            group.fetched.notify_one();
            // The server answers, but not as it should, or cannot be reached.
            sleep(Duration::from_millis(50)).await;
            continue;
        }
        group.state().trouble = None;
        group.fetched.notify_one();
    }
}

/// One round.
async fn fetch(
    group: &Group,
    connection: &mut Option<Connection>,
    max: usize,
    end: Instant,
) -> Result<(), TransportError> {
    left_behind(group, max).await?;
    if group.state().is_ready() {
        return Ok(());
    }
    let server = &group.link.server;
    let mut reader = match connection.take().filter(|c| !c.is_lost()) {
        Some(connection) => connection,
        None => server.open_reader().await.map_err(|e| server.error(&e))?,
    };
    let answer = new_entries(group, &mut reader, max, end).await;
    let lost = answer.as_ref().is_err_and(ends_connection);
    if !lost {
        *connection = Some(reader);
    }
    match answer {
        Ok(()) => Ok(()),
        Err(e) if is_missing(&e) => group.recreate().await,
        Err(e) => {
            if lost {
                group.state().look_everywhere();
            }
            Err(server.error(&e))
        }
    }
}

/// Waits for new entries, on the member's own connection.
async fn new_entries(
    group: &Group,
    connection: &mut Connection,
    max: usize,
    end: Instant,
) -> RedisResult<()> {
    let streams = {
        let mut state = group.state();
        let streams = state.readable();
        state.blocked = connection.number;
        streams.iter().for_each(|n| state.streams[*n].reading += 1);
        streams
    };
    let result = wait_for_new(group, connection, &streams, max, end).await;
    let mut state = group.state();
    state.blocked = None;
    streams.iter().for_each(|n| state.streams[*n].reading -= 1);
    let until = Instant::now() + group.subscription.lease;
    for (key, entries) in result? {
        let number = streams
            .iter()
            .find(|n| group.keys.streams[**n].as_bytes() == key);
        if let Some(number) = number {
            state.insert(*number, entries.into_iter().map(|e| (e, 1)), until);
        }
    }
    state.rounds += 1;
    Ok(())
}

async fn wait_for_new(
    group: &Group,
    connection: &mut Connection,
    streams: &[usize],
    max: usize,
    end: Instant,
) -> RedisResult<Vec<(Vec<u8>, Vec<Entry>)>> {
    if streams.is_empty() {
        sleep(Duration::from_millis(10)).await;
        return Ok(Vec::new());
    }
    // Not for longer than until the next look at what others left behind.
    let block = end
        .saturating_duration_since(Instant::now())
        .min(group.block)
        .min(group.beat);
    let mut command = cmd("XREADGROUP");
    command.arg("GROUP").arg(&*group.subscription.group);
    command.arg(&*group.subscription.member);
    command.arg("COUNT").arg(max);
    // To block for no time would be to block forever.
    if block >= Duration::from_millis(1) {
        command.arg("BLOCK").arg(millis(block));
    }
    command.arg("STREAMS");
    for stream in streams {
        command.arg(&group.keys.streams[*stream]);
    }
    for _ in streams {
        command.arg(">");
    }
    let limit = block + group.link.server.deadline;
    let mut read = pin!(timeout(limit, connection.send(&command)));
    let answer = loop {
        tokio::select! {
            answer = &mut read => break answer.unwrap_or_else(|_| Err(late(limit)))?,
            () = group.wake_reader.notified(), if !group.closed.load(Ordering::Acquire) => {
                // Something was released meanwhile. What fails here fails again without a read.
                if left_behind(group, max).await.is_ok() && group.state().is_ready() {
                    group.fetched.notify_one();
                }
            }
        }
    };
    Ok(entries_by_stream(answer))
}

/// Fetches entries that are pending and in nobody's hand.
async fn left_behind(group: &Group, max: usize) -> Result<(), TransportError> {
    for stream in 0..group.keys.streams.len() {
        if !group.state().needs_recovery(stream) {
            continue;
        }
        group.state().streams[stream].reading += 1;
        let result = recover(group, stream, max).await;
        group.state().streams[stream].reading -= 1;
        result?;
    }
    // A page looks at ten times as many as it may take.
    for _ in 0..20 {
        let cursor = {
            let state = group.state();
            match &state.reclaim {
                reclaim if state.is_ready() || !reclaim.is_due() => return Ok(()),
                Reclaim::At(cursor) => cursor.clone(),
                Reclaim::Rests(_) => "0-0".to_owned(),
            }
        };
        reclaim(group, cursor, max).await?;
    }
    Ok(())
}

/// Looks for entries of a stream of this member's own that it does not know of: of a partition all
/// that are pending, of the shared stream those under its name.
async fn recover(group: &Group, stream: usize, max: usize) -> Result<(), TransportError> {
    const PAGE: usize = 1000;
    loop {
        let (seen, reasons) = {
            let state = group.state();
            let of = &state.streams[stream];
            match &of.owned {
                Some(owned) if of.may_read(Instant::now()) && !state.is_ready() => {
                    let Some(seen) = owned.recover else {
                        return Ok(());
                    };
                    (seen, owned.reasons)
                }
                _ => return Ok(()),
            }
        };
        let mut command = cmd("XPENDING");
        command.arg(&group.keys.streams[stream]);
        command.arg(&*group.subscription.group);
        command.arg(format!("({seen}")).arg("+").arg(PAGE);
        if stream == 0 {
            command.arg(&*group.subscription.member);
        }
        let pending = match group.link.attempt(&command).await? {
            Ok(pending) => ids(pending),
            Err(e) if is_missing(&e) => {
                group.recreate().await?;
                Vec::new()
            }
            Err(e) => return Err(group.link.server.error(&e)),
        };
        let mut unknown: Vec<_> = {
            let state = group.state();
            let of_interest = pending.iter().copied();
            of_interest.filter(|id| !state.has(stream, *id)).collect()
        };
        let all = unknown.len() <= max;
        unknown.truncate(max);
        let last = match all {
            true => pending.last().copied(),
            false => unknown.last().copied(),
        };
        take(group, stream, &unknown).await?;
        let mut state = group.state();
        if let Some(owned) = &mut state.streams[stream].owned
            && owned.reasons == reasons
        {
            let end = all && pending.len() < PAGE;
            owned.recover = if end { None } else { last };
        }
    }
}

/// Takes over entries by their ids.
async fn take(group: &Group, stream: usize, ids: &[EntryId]) -> Result<(), TransportError> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut call = scripts::TAKE.call([&group.keys.streams[stream]].into_iter());
    let member = &*group.subscription.member;
    call.arg(&*group.subscription.group).arg(member);
    call.arg(if stream == 0 { member } else { "" });
    call.arg(ids);
    let until = Instant::now() + group.subscription.lease;
    let Some(Value::Array(entries)) = run_script(group, &scripts::TAKE, &call).await? else {
        return Ok(());
    };
    let entries = counted(entries.into_iter());
    group.state().insert(stream, entries, until);
    Ok(())
}

/// Takes over entries of the shared stream that were idle for longer than a lease.
async fn reclaim(group: &Group, cursor: String, max: usize) -> Result<(), TransportError> {
    let mut call = scripts::RECLAIM.call([&group.keys.streams[0]].into_iter());
    call.arg(&*group.subscription.group);
    call.arg(&*group.subscription.member);
    call.arg(millis(group.subscription.lease));
    call.arg(cursor).arg(max);
    let until = Instant::now() + group.subscription.lease;
    let answer = run_script(group, &scripts::RECLAIM, &call).await?;
    let mut state = group.state();
    let Some(Value::Array(parts)) = answer else {
        state.reclaim = Reclaim::Rests(Instant::now() + group.beat);
        return Ok(());
    };
    let mut parts = parts.into_iter();
    state.reclaim = match parts.next() {
        Some(Value::BulkString(next)) if next != b"0-0" => {
            Reclaim::At(String::from_utf8(next).unwrap_or_default())
        }
        _ => Reclaim::Rests(Instant::now() + group.beat),
    };
    let entries: Vec<_> = counted(parts).collect();
    for (entry, _) in &entries {
        // Its lease ran out by the server's clock, also if it is in this member's hand.
        state.settle(&RedisReceipt::entry(0, entry.id));
    }
    state.insert(0, entries, until);
    Ok(())
}

async fn run_script(
    group: &Group,
    script: &Lua,
    call: &Cmd,
) -> Result<Option<Value>, TransportError> {
    match group.link.attempt_run(script, call).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(e) if is_missing(&e) => group.recreate().await.map(|()| None),
        Err(e) => Err(group.link.server.error(&e)),
    }
}

/// Whether the stream or the group is gone: the server was restarted without its data, or emptied.
fn is_missing(error: &RedisError) -> bool {
    let code = error.code();
    let detail = error.detail().unwrap_or_default();
    matches!(code, Some("NOGROUP" | "UNBLOCKED")) || detail.contains("NOGROUP")
}

/// The entries in `{stream: [entry, …]}`, which older protocols write as a list of pairs.
fn entries_by_stream(answer: Value) -> Vec<(Vec<u8>, Vec<Entry>)> {
    let now = now_millis();
    let of = |key: Value, entries: Value| match (key, entries) {
        (Value::BulkString(key), Value::Array(entries)) => {
            let entries = entries.into_iter().filter_map(|e| wire::entry(e, now));
            Some((key, entries.collect()))
        }
        _ => None,
    };
    match answer {
        Value::Map(streams) => streams.into_iter().filter_map(|(k, e)| of(k, e)).collect(),
        Value::Array(streams) => {
            let pairs = streams.into_iter().filter_map(|pair| match pair {
                Value::Array(mut pair) if pair.len() == 2 => {
                    let entries = pair.pop()?;
                    of(pair.pop()?, entries)
                }
                _ => None,
            });
            pairs.collect()
        }
        _ => Vec::new(),
    }
}

/// The entries in `[[id, fields, how often], …]`.
fn counted(entries: impl Iterator<Item = Value>) -> impl Iterator<Item = (Entry, u32)> {
    let now = now_millis();
    entries.filter_map(move |value| {
        let Value::Array(mut parts) = value else {
            return None;
        };
        let count = match parts.pop()? {
            Value::Int(count) => u32::try_from(count).unwrap_or(u32::MAX),
            _ => 1,
        };
        Some((wire::entry(Value::Array(parts), now)?, count.max(1)))
    })
}

/// The ids in `[[id, …], …]`.
fn ids(pending: Value) -> Vec<EntryId> {
    let Value::Array(rows) = pending else {
        return Vec::new();
    };
    let ids = rows.iter().filter_map(|row| match row {
        Value::Array(row) => wire::id(row.first()?),
        _ => None,
    });
    ids.collect()
}
