-- Takes over pending entries by their ids.
-- KEYS: stream. ARGV: group, member, the only member to take them from or empty, ids.
-- Reply: for each entry its id, fields and delivery count.
local group, member, from = ARGV[1], ARGV[2], ARGV[3]
local reply = {}
for i = 4, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1)[1]
  if pending and (from == '' or pending[2] == from) then
    local entry = redis.call('XCLAIM', KEYS[1], group, member, 0, ARGV[i])[1]
    if entry then reply[#reply + 1] = {entry[1], entry[2], pending[4] + 1} end
  end
end
return reply
