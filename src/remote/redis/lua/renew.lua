-- Renews leases of entries and claims that are still this member's.
-- KEYS: claims, streams. ARGV: group, member, lease, number of keys, keys, and for each stream the
-- number of ids and ids, ascending.
local group, member, lease, keys = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = 5 + keys
if keys > 0 then
  local value, pairs = claim_value(now() + lease, member), {}
  for _, key in ipairs(claimed(KEYS[1], member, 5, at - 1)) do
    pairs[#pairs + 1] = key
    pairs[#pairs + 1] = value
  end
  each_piece(pairs, function(...) redis.call('HSET', KEYS[1], ...) end)
  if #pairs > 0 then redis.call('PEXPIRE', KEYS[1], lease * 2) end
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
