-- Reads new entries, one of each stream in turn, until the number or the bytes are used up.
-- KEYS: streams. ARGV: group, member, number, bytes.
-- Reply: for each entry its stream, and a list of this entry.
local number, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local reply, open = {}, KEYS
while #open > 0 do
  local more = {}
  for _, key in ipairs(open) do
    if number <= 0 or bytes <= 0 then return reply end
    local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', key, '>')
    if read then
      local entry = read[1][2][1]
      number, bytes = number - 1, bytes - size(entry)
      reply[#reply + 1] = {key, {entry}}
      more[#more + 1] = key
    end
  end
  open = more
end
return reply
