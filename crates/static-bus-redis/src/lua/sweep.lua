-- Removes ended claims, old sets of confirmed keys, and idle members without pending entries. Runs once in an
-- interval, for all members. Reply: 1 if there are more ended claims.
-- KEYS: lock, claims, prefix of the sets of confirmed keys, streams. ARGV: interval, or 0 to go on, group, window, idle time of
-- members to remove.
local group, window, time = ARGV[2], tonumber(ARGV[3]), now()
if ARGV[1] ~= '0' and not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end
local ended = redis.call('ZRANGE', KEYS[2], '-inf', time, 'BYSCORE', 'LIMIT', 0, 1000)
if #ended > 0 then redis.call('ZREM', KEYS[2], unpack(ended)) end
if #ended == 1000 then return 1 end
if window > 0 then
  -- The clock of a member may be late. UNLINK frees the memory without blocking the server, other than expiry.
  local old = math.floor((time - 5000) / window) - 2
  for age = 0, 2 do redis.call('UNLINK', KEYS[3] .. string.format('%d', old - age)) end
end
for s = 4, #KEYS do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[s], group)
  for _, consumer in ipairs(consumers) do
    if field(consumer, 'pending') == 0 and field(consumer, 'idle') > tonumber(ARGV[4]) then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[s], group, field(consumer, 'name'))
    end
  end
end
return 0
