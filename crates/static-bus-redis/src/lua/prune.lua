-- Removes expired elements from the head of a list. KEYS: list. ARGV: current time.
-- The time is that of a producer, as in the elements.
local bytes = 1000000
for removed = 0, 999 do
  local blob = redis.call('LINDEX', KEYS[1], 0)
  if not blob or bytes < 0 then return removed end
  bytes = bytes - #blob
  local expiry = 0
  for i = 2, 9 do expiry = expiry * 256 + (string.byte(blob, i) or 0) end
  if expiry == 0 or expiry > tonumber(ARGV[1]) then return removed end
  redis.call('LPOP', KEYS[1])
end
return 1000
