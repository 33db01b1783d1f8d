-- A part of a stream: up to a number of entries, until the bytes are used up.
-- KEYS: stream. ARGV: first id, number, bytes. Reply: the entries.
local at, left, reply = ARGV[1], tonumber(ARGV[3]), {}
while #reply < tonumber(ARGV[2]) and left > 0 do
  local entry = redis.call('XRANGE', KEYS[1], at, '+', 'COUNT', 1)[1]
  if not entry then break end
  reply[#reply + 1] = entry
  left = left - size(entry)
  at = '(' .. entry[1]
end
return reply
