//! Keeps records until they are due.

use std::time::{Duration, UNIX_EPOCH};

use redis::Cmd;

use super::super::{keys, wire::add_fields};
use static_bus_remote::transport::{Due, DueTime, Record, Topic};

/// Keeps a record, instead of the one with its cancellation key.
///
/// KEYS: due times, records. ARGV: milliseconds since 1970, or a delay; `1` if it is a delay; the number of the stream; `1` if there is a
/// cancellation key; the key; the fields of the entry. Reply: 1.
///
/// The number of a record has a fixed width: of records that are due at the same time, the set begins with the lowest. The set is
/// sent as a text for the reason that is given at the script of queries.
const SCRIPT: &str = "\
local due, key = tonumber(ARGV[1]), ARGV[4] == '1' and 'k' .. ARGV[5] \
if ARGV[2] == '1' then \
local t = redis.call('TIME') \
due = due + t[1] * 1000 + math.ceil(t[2] / 1000) \
end \
local id = string.format('%016.0f', redis.call('HINCRBY', KEYS[2], 'n', 1)) \
if key then \
local old = redis.call('HGET', KEYS[2], key) \
if old then \
redis.call('ZREM', KEYS[1], old) \
redis.call('HDEL', KEYS[2], old) \
end \
redis.call('HSET', KEYS[2], key, id) \
end \
redis.call('ZADD', KEYS[1], due, id) \
redis.call('HSET', KEYS[2], id, cmsgpack.pack({tonumber(ARGV[3]), key, {unpack(ARGV, 6)}})) \
return 1";

/// The latest time: a score of a sorted set is exact up to here.
const LATEST: u64 = 1 << 53;

/// The command that keeps a record of the stream with this number.
pub(super) fn command(
    namespace: &str,
    topic: &Topic,
    stream: usize,
    record: &Record,
    due: &Due,
    now: u64,
) -> Cmd {
    let mut command = Cmd::new();
    command.arg("EVAL").arg(SCRIPT).arg(2);
    command.arg(keys::due(namespace, topic));
    command.arg(keys::scheduled(namespace, topic));
    let (time, is_delay) = match due.time {
        DueTime::At(time) => (time.duration_since(UNIX_EPOCH).unwrap_or_default(), 0),
        DueTime::After(delay) => (delay, 1),
    };
    command.arg(whole_millis(time)).arg(is_delay).arg(stream);
    let key = due.key.as_deref();
    command.arg(u8::from(key.is_some()));
    command.arg(key.unwrap_or_default());
    add_fields(&mut command, record, now);
    command
}

/// Milliseconds, rounded up: a record is never early.
fn whole_millis(time: Duration) -> u64 {
    let millis = time.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).map_or(LATEST, |millis| millis.min(LATEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_up_and_exact_as_a_score() {
        assert_eq!(whole_millis(Duration::from_nanos(1_000_001)), 2);
        assert_eq!(whole_millis(Duration::from_millis(7)), 7);
        assert_eq!(whole_millis(Duration::MAX), LATEST);
    }
}
