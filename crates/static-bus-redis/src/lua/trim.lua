-- Removes entries that every group has read and acknowledged. One of the members runs it in each interval.
-- KEYS: lock, groups of the topic (with the times until which they count as its groups), streams.
-- ARGV: interval in milliseconds (0: without the lock, to go on), then for each stream the id at which to start removing
-- single entries, or empty.
-- Reply: 1 if there is more to remove, otherwise 0; then for each stream the lowest pending id, or empty, and the id at which
-- to go on with single entries, or empty.
-- Nothing is removed from a stream that lacks one of the groups: its members create it again, and it begins at the oldest entry.
-- Before the lowest pending entry of all groups, whole nodes of the stream are removed, so about a hundred entries may
-- remain. After it, entries are removed one by one.
if ARGV[1] ~= '0' and not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return {0} end
-- The bounds of the work of a call: the number of entries that are removed in nodes, the number of entries and pending entries
-- that are read to remove single ones, and their bytes.
local trimmable, walkable, bytes = 10000, 1500, 1000000

local function parts(id)
  local millis, sequence = string.match(id, '(%d+)-(%d+)')
  return tonumber(millis), tonumber(sequence)
end

local function is_less(a, b)
  local a_millis, a_sequence = parts(a)
  local b_millis, b_sequence = parts(b)
  return a_millis < b_millis or (a_millis == b_millis and a_sequence < b_sequence)
end

local function after(id)
  local millis, sequence = parts(id)
  return string.format('%d-%d', millis, sequence + 1)
end

-- Removes the entries from one id to another, without the second, that are pending for no group. Returns the id at which to
-- go on, or an empty text if there are no more.
local function walk(key, groups, from, to)
  local count = 1
  while walkable > 0 and bytes > 0 do
    local page = redis.call('XRANGE', key, from, '(' .. to, 'COUNT', count)
    if #page == 0 then return '' end
    local first, last, kept, done = page[1][1], page[#page][1], {}, {}
    for _, group in ipairs(groups) do
      -- Deleted entries may be pending too, so there may be more pending ids than entries.
      local rows = redis.call('XPENDING', key, field(group, 'name'), first, last, 1000)
      for _, row in ipairs(rows) do kept[row[1]] = true end
      walkable = walkable - #rows
      if #rows == 1000 then kept = nil break end
    end
    for _, entry in ipairs(page) do
      bytes = bytes - size(entry)
      if kept and not kept[entry[1]] then done[#done + 1] = entry[1] end
    end
    if #done > 0 then redis.call('XDEL', key, unpack(done)) end
    walkable = walkable - #page
    count = math.min(count * 2, 100)
    from = after(last)
  end
  return from
end

local expected = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now(), '+inf')
-- The data was lost, and no member has told its group since.
if #expected == 0 then return {0} end

local function lacks_one(groups)
  local found = {}
  for _, group in ipairs(groups) do found[field(group, 'name')] = true end
  for _, name in ipairs(expected) do
    if not found[name] then return true end
  end
  return false
end

local reply = {0}
for s = 1, #KEYS - 2 do
  local key, lowest, read, stuck, next = KEYS[s + 2], nil, nil, '', ''
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  if lacks_one(groups) then groups = {} end
  for _, group in ipairs(groups) do
    local last = field(group, 'last-delivered-id')
    local first = after(last)
    if field(group, 'pending') > 0 then first = redis.call('XPENDING', key, field(group, 'name'))[2] end
    if not lowest or is_less(first, lowest) then
      lowest = first
      stuck = field(group, 'pending') > 0 and first or ''
    end
    if not read or is_less(last, read) then read = last end
  end
  if lowest and trimmable > 0 then
    trimmable = trimmable - redis.call('XTRIM', key, 'MINID', '~', lowest, 'LIMIT', trimmable)
  end
  if ARGV[s + 1] ~= '' and lowest then
    next = ARGV[s + 1]
    if is_less(next, lowest) then next = lowest end
    -- The last entry that was read is not removed: without it the server does not report the lag of the group.
    next = walk(key, groups, next, read)
  end
  reply[s * 2], reply[s * 2 + 1] = stuck, next
  if next ~= '' then reply[1] = 1 end
end
if trimmable <= 0 then reply[1] = 1 end
return reply
