-- Removes a record that is not due yet. KEYS: due times, records. ARGV: cancellation key. Reply: 1 if there was one, otherwise 0.
local key = 'k' .. ARGV[1]
local id = redis.call('HGET', KEYS[2], key)
if not id then return 0 end
redis.call('ZREM', KEYS[1], id)
redis.call('HDEL', KEYS[2], id, key)
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
return 1
