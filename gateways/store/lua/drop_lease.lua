-- A node goes, in order: what it still holds may be buried after a grace.
--
-- KEYS  1 {nodes}:leases   2 {nodes}:claims
-- ARGV  1 node id   2 grace in ms

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[2]), ARGV[1])
end
return redis.status_reply('OK')
