-- Takes over entries whose lease ran out, of any member.
-- KEYS: stream. ARGV: group, member, lease, cursor, limit.
-- Reply: next cursor, then for each entry its id, fields and delivery count.
local group, member = ARGV[1], ARGV[2]
local found = redis.call('XAUTOCLAIM', KEYS[1], group, member, ARGV[3], ARGV[4], 'COUNT', ARGV[5])
local reply = {found[1]}
for _, entry in ipairs(found[2]) do
  local pending = redis.call('XPENDING', KEYS[1], group, entry[1], entry[1], 1)[1]
  reply[#reply + 1] = {entry[1], entry[2], pending and pending[4] or 1}
end
return reply
