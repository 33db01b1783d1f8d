-- Gives entries that are still this member's back, and gives its claims up.
-- KEYS: claims, streams. ARGV: group, member, 1 if nobody saw the entries, twice the number of claims,
-- these and their ends, and for each stream the number of ids and ids, ascending.
-- They go to a name that no member has, as idle for a day, so that others take them at once.
local group, member, unseen, claims = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])
local at = 5 + claims
each_piece(claimed(KEYS[1], 5, at - 1), function(...) redis.call('ZREM', KEYS[1], ...) end)
for s = 2, #KEYS do
  local last = at + ARGV[at]
  if last > at then
    each_piece(mine(KEYS[s], group, member, at + 1, last), function(...)
      local command = {'XCLAIM', KEYS[s], group, '(released)', 0, ...}
      for _, word in ipairs({'IDLE', 86400000, 'JUSTID'}) do command[#command + 1] = word end
      if unseen then
        command[#command + 1] = 'RETRYCOUNT'
        command[#command + 1] = 0
      end
      redis.call(unpack(command))
    end)
  end
  at = last + 1
end
return 1
