-- The backlog of a group. KEYS: streams. ARGV: group.
-- Reply: the number of pending entries, that of entries that were not read, and the age of the oldest of both in
-- milliseconds.
local pending, lag, oldest = 0, 0, nil
local time = now()
local function saw(id)
  local millis = tonumber(string.match(id, '%d+'))
  if not oldest or millis < oldest then oldest = millis end
end
for _, key in ipairs(KEYS) do
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  for _, group in ipairs(groups) do
    if field(group, 'name') == ARGV[1] then
      if field(group, 'pending') > 0 then
        pending = pending + field(group, 'pending')
        saw(redis.call('XPENDING', key, ARGV[1])[2])
      end
      local last = field(group, 'last-delivered-id')
      local next_entry = redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1)[1]
      if next_entry then
        saw(next_entry[1])
        local behind = field(group, 'lag')
        -- The server has no lag after entries were deleted from the middle of the stream.
        if not behind or behind < 1 then
          behind = 0
          local at = last
          repeat
            local page = redis.call('XRANGE', key, '(' .. at, '+', 'COUNT', 100)
            behind = behind + #page
            if #page > 0 then at = page[#page][1] end
          until #page < 100
        end
        lag = lag + behind
      end
    end
  end
end
return {pending, lag, oldest and math.max(0, time - oldest) or 0}
