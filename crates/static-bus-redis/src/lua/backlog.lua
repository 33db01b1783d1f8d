-- The backlog of a group. KEYS: streams. ARGV: group.
-- Reply: the number of pending entries, that of entries that were not read, and the age of the oldest of both in
-- milliseconds.
-- The server has no lag after entries were deleted from the middle of a stream. Then up to a thousand entries are counted,
-- and for more the length of the stream is the bound.
local budget = {entries = 1000, bytes = 1000000}

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
        if not behind or behind < 1 then
          local is_exact
          behind, is_exact = count(key, last, budget)
          if not is_exact then behind = math.max(behind, redis.call('XLEN', key) - field(group, 'pending')) end
        end
        lag = lag + behind
      end
    end
  end
end
return {pending, lag, oldest and math.max(0, time - oldest) or 0}
