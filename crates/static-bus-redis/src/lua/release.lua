-- Releases entries that are pending for a member, and its claims.
-- KEYS: claims, streams. ARGV: group, member, twice the number of claims, claims and their ends, and for each
-- stream the number of ids and the ids.
local group, member, claims = ARGV[1], ARGV[2], tonumber(ARGV[3])
local at = 4 + claims
each_piece(claimed(KEYS[1], 4, at - 1), function(...) redis.call('ZREM', KEYS[1], ...) end)
for s = 2, #KEYS do
  local last = at + ARGV[at]
  if last > at then give_back(KEYS[s], group, mine(KEYS[s], group, member, at + 1, last)) end
  at = last + 1
end
return 1
