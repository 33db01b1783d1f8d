-- Removes entries that every group has read and acknowledged. Runs once in an interval, for all members.
-- KEYS: lock, streams. ARGV: interval, or 0 to go on. Reply: the number of removed entries.
-- Only whole nodes of a stream are removed: about a hundred entries may stay.
if ARGV[1] ~= '0' and not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end
local removed = 0
for s = 2, #KEYS do
  local key = KEYS[s]
  local lowest, lowest_millis, lowest_sequence
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  for _, group in ipairs(groups) do
    local id
    if field(group, 'pending') > 0 then
      id = redis.call('XPENDING', key, field(group, 'name'))[2]
    else
      id = field(group, 'last-delivered-id')
    end
    local millis, sequence = string.match(id, '(%d+)-(%d+)')
    millis, sequence = tonumber(millis), tonumber(sequence)
    if field(group, 'pending') == 0 then sequence = sequence + 1 end
    if not lowest or millis < lowest_millis
      or (millis == lowest_millis and sequence < lowest_sequence) then
      lowest = string.format('%d-%d', millis, sequence)
      lowest_millis, lowest_sequence = millis, sequence
    end
  end
  if lowest then removed = removed + redis.call('XTRIM', key, 'MINID', '~', lowest, 'LIMIT', 20000) end
end
return removed
