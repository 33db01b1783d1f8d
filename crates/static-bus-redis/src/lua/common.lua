local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The value of a field in a flat list of fields and values.
local function field(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then return list[i + 1] end
  end
end

-- The bytes of the fields of an entry.
local function size(entry)
  local bytes = 0
  for _, part in ipairs(entry[2]) do bytes = bytes + #part end
  return bytes
end

-- Counts the entries of a stream after an id, one by one, within a budget: a table with the numbers of entries and bytes
-- that may still be looked at. Returns their number, and whether these are all.
local function count(key, after, budget)
  local found, largest = 0, nil
  while budget.entries > 0 and budget.bytes > 0 do
    local fitting = largest and math.max(1, math.floor(budget.bytes / largest)) or 1
    local page = redis.call('XRANGE', key, '(' .. after, '+', 'COUNT', math.min(fitting, budget.entries, 100))
    if #page == 0 then return found, true end
    for _, entry in ipairs(page) do
      local bytes = size(entry)
      budget.bytes = budget.bytes - bytes
      largest = math.max(largest or 1, bytes)
    end
    found, budget.entries, after = found + #page, budget.entries - #page, page[#page][1]
  end
  return found, false
end

-- Calls f with parts of a list that fit on the stack of Lua.
local function each_piece(list, f)
  for i = 1, #list, 1000 do f(unpack(list, i, math.min(i + 999, #list))) end
end

-- Releases pending entries: assigns them to a name that no member has, with an idle time of a day, so that any
-- member takes them over at once, and without the last delivery in their count.
local function give_back(key, group, ids, counts)
  local alike = {}
  for _, id in ipairs(ids) do
    local count = math.max(counts[id] - 1, 0)
    alike[count] = alike[count] or {}
    table.insert(alike[count], id)
  end
  for count, ids in pairs(alike) do
    each_piece(ids, function(...)
      local command = {'XCLAIM', key, group, '(released)', 0, ...}
      for _, word in ipairs({'IDLE', 86400000, 'RETRYCOUNT', count, 'JUSTID'}) do
        command[#command + 1] = word
      end
      redis.call(unpack(command))
    end)
  end
end

-- Those of the ids ARGV[from..to] that are pending for the member, and their delivery counts.
local function mine(key, group, member, from, to)
  local ids, counts = {}, {}
  for i = from, to do
    local pending = redis.call('XPENDING', key, group, ARGV[i], ARGV[i], 1, member)[1]
    if pending then
      ids[#ids + 1] = ARGV[i]
      counts[ARGV[i]] = pending[4]
    end
  end
  return ids, counts
end

-- The keys of those claims ARGV[from..to], each a key and its end, that still have this end. The end identifies
-- the claim: that of another member has a later one.
local function claimed(claims, from, to)
  local keys = {}
  for i = from, to, 2 do
    local ends = redis.call('ZSCORE', claims, ARGV[i])
    if ends and tonumber(ends) == tonumber(ARGV[i + 1]) then keys[#keys + 1] = ARGV[i] end
  end
  return keys
end

-- Takes over a pending entry, a row of XPENDING, without a change of its delivery count. Returns its id, fields,
-- delivery count and former owner; nil if the stream does not have it any more.
local function taken(key, group, member, pending)
  local entry = redis.call('XCLAIM', key, group, member, 0, pending[1], 'RETRYCOUNT', pending[4])[1]
  return entry and {entry[1], entry[2], pending[4], pending[2]}
end
