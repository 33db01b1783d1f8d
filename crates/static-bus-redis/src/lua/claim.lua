-- Gives surplus claims up, and decides on keys whose claim has ended.
-- KEYS: claims, sets of confirmed keys.
-- ARGV: end of the new claims, current time, number of surplus keys, surplus keys, keys to decide on.
-- Reply: one digit for each key to decide on: 0 granted, 1 held, 2 done.
local ends, time, undo = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 4, 3 + undo do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ends then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
local answers = {}
for i = 4 + undo, #ARGV do
  local answer = '0'
  local claim = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if claim and tonumber(claim) > time then answer = '1' end
  for s = 2, #KEYS do
    if redis.call('SISMEMBER', KEYS[s], ARGV[i]) == 1 then answer = '2' end
  end
  if answer == '0' then redis.call('ZADD', KEYS[1], ends, ARGV[i]) end
  answers[#answers + 1] = answer
end
return table.concat(answers)
