-- Removes ended claims, old sets of confirmed keys, and idle members without pending entries. Runs once in an
-- interval, for all members.
-- KEYS: lock, claims, prefix of the sets of confirmed keys, streams. ARGV: interval, group, window, idle time of
-- members to remove.
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end
local group, window, time = ARGV[2], tonumber(ARGV[3]), now()
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', time)
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
return 1
