-- Renews the leases of entries that are pending for a member, and its claims.
-- KEYS: claims, streams. ARGV: group, member, new end of the claims, expiry of the set of claims, twice the number
-- of claims, claims and their old ends, and for each stream the number of ids and the ids.
local group, member, claims = ARGV[1], ARGV[2], tonumber(ARGV[5])
local at = 6 + claims
if claims > 0 then
  local pairs = {}
  for _, key in ipairs(claimed(KEYS[1], 6, at - 1)) do
    pairs[#pairs + 1] = ARGV[3]
    pairs[#pairs + 1] = key
  end
  each_piece(pairs, function(...) redis.call('ZADD', KEYS[1], ...) end)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
for s = 2, #KEYS do
  local last = at + ARGV[at]
  if last > at then
    each_piece(mine(KEYS[s], group, member, at + 1, last), function(...)
      local command = {'XCLAIM', KEYS[s], group, member, 0, ...}
      command[#command + 1] = 'JUSTID'
      redis.call(unpack(command))
    end)
  end
  at = last + 1
end
return 1
