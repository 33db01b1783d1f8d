-- Takes over entries whose lease ran out, of any member, without a change of their delivery counts, until the number
-- or the bytes are used up.
-- KEYS: stream. ARGV: group, member, lease, cursor, number, bytes.
-- Reply: next cursor, then for each entry its id, fields, delivery count and owner.
local group, member, left = ARGV[1], ARGV[2], tonumber(ARGV[6])
local reply = {ARGV[4]}
-- Each call looks at ten entries.
for _ = 1, 100 do
  local found = redis.call('XAUTOCLAIM', KEYS[1], group, member, ARGV[3], reply[1], 'COUNT', 1, 'JUSTID')
  reply[1] = found[1]
  for _, id in ipairs(found[2]) do
    local pending = redis.call('XPENDING', KEYS[1], group, id, id, 1)[1]
    local entry = pending and taken(KEYS[1], group, member, pending)
    if entry then
      left = left - size(entry)
      reply[#reply + 1] = entry
    end
  end
  if reply[1] == '0-0' or left <= 0 or #reply > tonumber(ARGV[5]) then break end
end
return reply
