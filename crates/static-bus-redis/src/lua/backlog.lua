-- The backlog of a group. KEYS: streams. ARGV: group.
-- Reply: the number of pending entries, that of entries that were not read, and the age of the oldest of both in
-- milliseconds.
-- The server has no lag after entries were deleted from the middle of a stream. Then up to a thousand entries are counted,
-- and for more the length of the stream is the bound.
local countable, bytes = 1000, 1000000
local function count(key, group)
  local found, at = 0, field(group, 'last-delivered-id')
  while true do
    if countable <= 0 or bytes <= 0 then
      return math.max(found, redis.call('XLEN', key) - field(group, 'pending'))
    end
    local page = redis.call('XRANGE', key, '(' .. at, '+', 'COUNT', found == 0 and 1 or 100)
    if #page == 0 then return found end
    for _, entry in ipairs(page) do bytes = bytes - size(entry) end
    found, countable, at = found + #page, countable - #page, page[#page][1]
  end
end

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
        if not behind or behind < 1 then behind = count(key, group) end
        lag = lag + behind
      end
    end
  end
end
return {pending, lag, oldest and math.max(0, time - oldest) or 0}
