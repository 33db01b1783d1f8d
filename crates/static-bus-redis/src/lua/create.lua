-- Creates a group on streams, and the streams, where they are missing.
-- KEYS: streams. ARGV: group, 0 for the oldest entry or $ for the next.
-- ENTRIESREAD is set as well: without it the server has no lag for the group.
for _, key in ipairs(KEYS) do
  local read = 0
  if redis.call('EXISTS', key) == 1 then
    local info = redis.call('XINFO', 'STREAM', key)
    read = field(info, 'entries-added')
    if ARGV[2] == '0' then read = read - field(info, 'length') end
  end
  local reply = redis.pcall('XGROUP', 'CREATE', key, ARGV[1], ARGV[2], 'MKSTREAM', 'ENTRIESREAD', read)
  if reply.err and not string.find(reply.err, 'BUSYGROUP', 1, true) then return reply end
end
return #KEYS
