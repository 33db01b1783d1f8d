-- Tidies up after members that are gone, once in an interval for all members: ended claims, old sets
-- of handled keys, and names of members with nothing pending.
-- KEYS: who did it last, claims, prefix of done, streams. ARGV: interval, group, stretch of time,
-- how long a name has to be idle.
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end
local group, stretch, time = ARGV[2], tonumber(ARGV[3]), now()
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', time)
if stretch > 0 then
  -- A member may know the time a little late. Other than expiring, this does not stop the server.
  local old = math.floor((time - 5000) / stretch) - 2
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
