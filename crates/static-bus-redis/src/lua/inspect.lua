-- The state of a topic and its groups. Changes nothing, and does a bounded amount of work.
-- KEYS: streams, due times (none of dead letters). ARGV: the greatest number of entries of a group that are counted one by
-- one, the greatest number of old entries of a group and a stream, the number of streams.
-- Reply: the time, the number of entries, the number of entries ever added, the number of scheduled records, the time until
-- the next one is due (nil: there is none), and for each group its name, the number of
-- pending entries, the number of entries that were not read, 1 if that is exact, and old entries: the number of the
-- stream (from 0), id, member (empty for none), and number of deliveries.
local limit, old = tonumber(ARGV[1]), tonumber(ARGV[2])
local stored, added, groups, names = 0, 0, {}, {}
for s = 1, tonumber(ARGV[3]) do
  local key = KEYS[s]
  local info = redis.pcall('XINFO', 'STREAM', key)
  local found = {}
  if not info.err then
    stored = stored + field(info, 'length')
    added = added + field(info, 'entries-added')
    found = redis.call('XINFO', 'GROUPS', key)
  end
  for _, group in ipairs(found) do
    local name = field(group, 'name')
    if not groups[name] then
      groups[name] = {name, 0, 0, 1, {}, budget = {entries = limit, bytes = 1000000}}
      names[#names + 1] = name
    end
    local state = groups[name]
    local oldest = state[5]
    if field(group, 'pending') > 0 then
      state[2] = state[2] + field(group, 'pending')
      for _, entry in ipairs(redis.call('XPENDING', key, name, '-', '+', old)) do
        local member = entry[2]
        if member == '(released)' then member = '' end
        oldest[#oldest + 1] = {s - 1, entry[1], member, entry[4]}
      end
    end
    local last = field(group, 'last-delivered-id')
    local unread = redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1)[1]
    if unread then
      oldest[#oldest + 1] = {s - 1, unread[1], '', 0}
      local behind = field(group, 'lag')
      -- The server has no lag after entries were deleted from the middle of the stream.
      if not behind or behind < 1 then
        local is_exact
        behind, is_exact = count(key, last, state.budget)
        if not is_exact then
          behind = math.max(behind, 1)
          state[4] = 0
        end
      end
      state[3] = state[3] + behind
    end
  end
end
local time, scheduled, next_due = now(), 0, false
local due = KEYS[tonumber(ARGV[3]) + 1]
if due then
  scheduled = redis.call('ZCARD', due)
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if first[2] then next_due = math.max(0, first[2] - time) end
end
local reply = {time, stored, added, scheduled, next_due}
for _, name in ipairs(names) do reply[#reply + 1] = groups[name] end
return reply
