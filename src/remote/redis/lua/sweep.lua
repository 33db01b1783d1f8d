-- Tidies up after members that are gone, once in an interval for all members: ended claims, old sets
-- of handled keys, and names of members with nothing pending.
-- KEYS: who did it last, claims, prefix of done, streams. ARGV: interval, group, stretch of time,
-- how long a name has to be idle, cursor in the claims. Reply: next cursor.
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return ARGV[5] end
local group, stretch, time = ARGV[2], tonumber(ARGV[3]), now()
local scan = redis.call('HSCAN', KEYS[2], ARGV[5], 'COUNT', 1000)
for i = 1, #scan[2], 2 do
  if claim_ends(scan[2][i + 1]) < time then redis.call('HDEL', KEYS[2], scan[2][i]) end
end
if stretch > 0 then
  for age = 3, 5 do redis.call('UNLINK', KEYS[3] .. (math.floor(time / stretch) - age)) end
end
for s = 4, #KEYS do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[s], group)
  for _, consumer in ipairs(consumers) do
    if field(consumer, 'pending') == 0 and field(consumer, 'idle') > tonumber(ARGV[4]) then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[s], group, field(consumer, 'name'))
    end
  end
end
return scan[1]
