-- Renews a membership: renews the partitions of the member, gives up those that it has left, and takes free ones,
-- up to its share.
-- KEYS: members, groups of the topic, owners of the partitions, streams (one more than partitions).
-- ARGV: member, group, lease, 1 if it is active, 1 if it takes partitions, the time in milliseconds for which the group counts
-- as one of the topic, and that for which others may return if none was known, partitions to give up (from 0).
-- Reply: the time, the share, and for each partition 0 (foreign), 1 (kept) or 2 (taken); NOGROUP if a stream has not
-- the group.
local member, lease, partitions = ARGV[1], tonumber(ARGV[3]), (#KEYS - 3) / 2
local time = now()
-- A group without a name, which no stream has, keeps all entries until others have had the time to return.
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('ZADD', KEYS[2], time + ARGV[7], '') end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', time)
redis.call('ZADD', KEYS[2], time + ARGV[6], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
for s = partitions + 3, #KEYS do
  local found = redis.pcall('XPENDING', KEYS[s], ARGV[2], '-', '+', 1, member)
  if found.err then return found end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time)
if ARGV[4] == '1' then
  redis.call('ZADD', KEYS[1], time + lease, member)
  redis.call('PEXPIRE', KEYS[1], lease * 2)
else
  redis.call('ZREM', KEYS[1], member)
end
local owners = redis.call('MGET', unpack(KEYS, 3, partitions + 2))
local given = {}
for i = 8, #ARGV do
  local p = tonumber(ARGV[i]) + 1
  given[p] = true
  if owners[p] == member then
    redis.call('DEL', KEYS[p + 2])
    owners[p] = false
  end
end
local live = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(live)
local share = 0
for rank, name in ipairs(live) do
  if name == member then
    share = math.floor(partitions / #live)
    if rank <= partitions % #live then share = share + 1 end
  end
end
local reply, count = {time, share}, 0
for p = 1, partitions do
  local state = 0
  if owners[p] == member then
    redis.call('PEXPIRE', KEYS[p + 2], lease)
    state = 1
    count = count + 1
  end
  reply[p + 2] = state
end
for p = 1, partitions do
  if ARGV[5] == '1' and count < share and not owners[p] and not given[p] then
    redis.call('SET', KEYS[p + 2], member, 'PX', lease)
    reply[p + 2] = 2
    count = count + 1
  end
end
return reply
