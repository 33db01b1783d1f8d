-- Claims deduplication keys: a reply of one digit for each, 0 granted, 1 held, 2 done.
-- KEYS: claims, prefix of done. ARGV: member, lease, stretch of time, keys.
local member, lease, stretch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = now()
local current = math.floor(time / stretch)
local value = claim_value(time + lease, member)
local answers, taken = {}, {}
pieces(4, #ARGV, function(i, j)
  local done = {}
  for age = 0, 2 do
    local found = redis.call('SMISMEMBER', KEYS[2] .. (current - age), unpack(ARGV, i, j))
    for n, is in ipairs(found) do
      if is == 1 then done[n] = true end
    end
  end
  local claims = redis.call('HMGET', KEYS[1], unpack(ARGV, i, j))
  local new = {}
  for n, claim in ipairs(claims) do
    local key = ARGV[i + n - 1]
    if done[n] then
      answers[#answers + 1] = '2'
    elseif taken[key] or (claim and claim_ends(claim) > time) then
      answers[#answers + 1] = '1'
    else
      answers[#answers + 1] = '0'
      taken[key] = true
      new[#new + 1] = key
      new[#new + 1] = value
    end
  end
  each_piece(new, function(...) redis.call('HSET', KEYS[1], ...) end)
end)
if next(taken) then redis.call('PEXPIRE', KEYS[1], lease * 2) end
return table.concat(answers)
