-- Leaves a group: releases the pending entries, the partitions and the claims of a member.
-- KEYS: members, claims, streams, owners. ARGV: group, member, number of streams, claims and their ends.
local group, member, streams = ARGV[1], ARGV[2], tonumber(ARGV[3])
redis.call('ZREM', KEYS[1], member)
each_piece(claimed(KEYS[2], 4, #ARGV), function(...) redis.call('ZREM', KEYS[2], ...) end)
for s = 3, 2 + streams do
  while true do
    local page = redis.pcall('XPENDING', KEYS[s], group, '-', '+', 1000, member)
    if page.err or #page == 0 then break end
    local ids, counts = {}, {}
    for i, p in ipairs(page) do
      ids[i], counts[p[1]] = p[1], p[4]
    end
    give_back(KEYS[s], group, ids, counts)
  end
  -- Nothing is pending for the member now: XGROUP DELCONSUMER would drop it.
  redis.pcall('XGROUP', 'DELCONSUMER', KEYS[s], group, member)
end
for o = 3 + streams, #KEYS do
  if redis.call('GET', KEYS[o]) == member then redis.call('DEL', KEYS[o]) end
end
return 1
