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

-- Calls f(from, to) for pieces of a range that fit on Lua's stack.
local function pieces(from, to, f)
  for i = from, to, 1000 do f(i, math.min(i + 999, to)) end
end

-- Those of ARGV[from..to], which are ascending ids, that are pending for this member.
local function mine(key, group, member, from, to)
  local pending, at = {}, ARGV[from]
  while true do
    local page = redis.call('XPENDING', key, group, at, ARGV[to], 1000, member)
    for _, p in ipairs(page) do pending[p[1]] = true end
    if #page < 1000 then break end
    at = '(' .. page[1000][1]
  end
  local ids = {}
  for i = from, to do
    if pending[ARGV[i]] then ids[#ids + 1] = ARGV[i] end
  end
  return ids
end

-- A claim is kept as 15 digits of milliseconds, when it ends, and its owner.
local function claim_value(ends, owner) return string.format('%015d', ends) .. owner end
local function claim_ends(value) return tonumber(string.sub(value, 1, 15)) end
local function claim_owner(value) return string.sub(value, 16) end

-- Those of the keys ARGV[from..to] that this member claimed.
local function claimed(hash, member, from, to)
  local keys = {}
  pieces(from, to, function(i, j)
    local values = redis.call('HMGET', hash, unpack(ARGV, i, j))
    for n, value in ipairs(values) do
      if value and claim_owner(value) == member then keys[#keys + 1] = ARGV[i + n - 1] end
    end
  end)
  return keys
end

local function each_piece(list, f)
  pieces(1, #list, function(i, j) f(unpack(list, i, j)) end)
end
