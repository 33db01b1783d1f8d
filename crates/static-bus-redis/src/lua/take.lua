-- Takes over pending entries by their ids, without a change of their delivery counts, until the bytes are used up.
-- KEYS: stream. ARGV: group, member, the only member to take them from or empty, bytes, ids.
-- Reply: the number of ids that were looked at, then for each entry its id, fields, delivery count and former owner.
local group, member, from, left = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local reply = {0}
for i = 5, #ARGV do
  if left <= 0 then break end
  reply[1] = i - 4
  local pending = redis.call('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1)[1]
  if pending and (from == '' or pending[2] == from) then
    local entry = taken(KEYS[1], group, member, pending)
    if entry then
      left = left - size(entry)
      reply[#reply + 1] = entry
    end
  end
end
return reply
