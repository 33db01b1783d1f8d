-- Removes ended claims, old sets of confirmed keys, and idle members without pending entries. One of the members runs it in
-- each interval.
-- KEYS: lock, claims, sets of confirmed keys to remove, streams.
-- ARGV: interval (0: without the lock, to go on), group, idle time after which a member is removed, number of sets; times in
-- milliseconds.
-- Reply: 1 if there are more ended claims, otherwise 0.
local group, sets, time = ARGV[2], tonumber(ARGV[4]), now()
if ARGV[1] ~= '0' and not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end
local ended = redis.call('ZRANGE', KEYS[2], '-inf', time, 'BYSCORE', 'LIMIT', 0, 1000)
if #ended > 0 then redis.call('ZREM', KEYS[2], unpack(ended)) end
if #ended == 1000 then return 1 end
-- UNLINK frees the memory in another thread of the server; an expiry would block the server.
for s = 3, 2 + sets do redis.call('UNLINK', KEYS[s]) end
for s = 3 + sets, #KEYS do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[s], group)
  for _, consumer in ipairs(consumers) do
    if field(consumer, 'pending') == 0 and field(consumer, 'idle') > tonumber(ARGV[3]) then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[s], group, field(consumer, 'name'))
    end
  end
end
return 0
