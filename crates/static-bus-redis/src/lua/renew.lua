-- Renews the leases of entries that are pending for a member, and its claims.
-- KEYS: claims, streams. ARGV: group, member, new end of the claims, expiry of the set of claims, twice the number
-- of claims, claims and their old ends, and for each stream the number of ids and the ids.
-- Reply: the keys of the renewed claims. None is renewed if the group is missing.
local group, member, claims = ARGV[1], ARGV[2], tonumber(ARGV[5])
local at = 6 + claims
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
if claims == 0 then return {} end
local renewed = claimed(KEYS[1], 6, 5 + claims)
local pairs = {}
for _, key in ipairs(renewed) do
  pairs[#pairs + 1] = ARGV[3]
  pairs[#pairs + 1] = key
end
each_piece(pairs, function(...) redis.call('ZADD', KEYS[1], ...) end)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return renewed
