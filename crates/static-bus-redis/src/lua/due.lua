-- Moves records that are due to their streams, the earliest first.
-- KEYS: due times, records, streams. ARGV: the greatest number of records.
-- Reply: 1 if there may be more that are due, otherwise 0.
local ids = redis.call('ZRANGE', KEYS[1], '-inf', now(), 'BYSCORE', 'LIMIT', 0, ARGV[1])
local bytes, moved = 1000000, 0
for _, id in ipairs(ids) do
  if bytes <= 0 then break end
  local stored = redis.call('HGET', KEYS[2], id)
  if stored then
    local stream, key, fields = unpack(cmsgpack.unpack(stored))
    redis.call('XADD', KEYS[3 + stream] or KEYS[3], '*', unpack(fields))
    if key then redis.call('HDEL', KEYS[2], key) end
    redis.call('HDEL', KEYS[2], id)
    bytes = bytes - #stored
  end
  redis.call('ZREM', KEYS[1], id)
  moved = moved + 1
end
if moved > 0 and redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
return (moved < #ids or #ids == tonumber(ARGV[1])) and 1 or 0
