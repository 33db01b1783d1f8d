-- Leaves a group: releases up to a thousand pending entries of a member, and when there are no more, its partitions.
-- KEYS: members, streams, owners. ARGV: group, member, number of streams. Reply: 1 if it has left, 0 to go on.
local group, member, streams = ARGV[1], ARGV[2], tonumber(ARGV[3])
local left = 1000
for s = 2, 1 + streams do
  local page = redis.pcall('XPENDING', KEYS[s], group, '-', '+', left, member)
  if not page.err and #page > 0 then
    local ids, counts = {}, {}
    for i, p in ipairs(page) do
      ids[i], counts[p[1]] = p[1], p[4]
    end
    give_back(KEYS[s], group, ids, counts)
    left = left - #page
    if left == 0 then return 0 end
  end
end
-- Nothing is pending for the member now: XGROUP DELCONSUMER would drop it.
for s = 2, 1 + streams do redis.pcall('XGROUP', 'DELCONSUMER', KEYS[s], group, member) end
redis.call('ZREM', KEYS[1], member)
for o = 2 + streams, #KEYS do
  if redis.call('GET', KEYS[o]) == member then redis.call('DEL', KEYS[o]) end
end
return 1
