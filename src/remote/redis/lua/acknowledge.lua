-- Confirms deduplication keys, then acknowledges entries.
-- KEYS: claims, prefix of done, streams. ARGV: group, member, stretch of time, number of keys,
-- keys, and for each stream the number of ids and ids.
local group, member, stretch, keys = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = 5 + keys
if keys > 0 then
  local done = KEYS[2] .. math.floor(now() / stretch)
  pieces(5, at - 1, function(i, j) redis.call('SADD', done, unpack(ARGV, i, j)) end)
  redis.call('PEXPIRE', done, stretch * 4)
  each_piece(claimed(KEYS[1], member, 5, at - 1), function(...) redis.call('HDEL', KEYS[1], ...) end)
end
for s = 3, #KEYS do
  local last = at + ARGV[at]
  pieces(at + 1, last, function(i, j) redis.call('XACK', KEYS[s], group, unpack(ARGV, i, j)) end)
  at = last + 1
end
return 1
