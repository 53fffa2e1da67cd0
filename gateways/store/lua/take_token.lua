-- Take tokens out of a bucket, or put one back. The bucket is kept as the moment at which it is full again
-- (the generic cell rate algorithm, ITU-T I.371), so that a full one needs no key.
--
-- KEYS  1 limit:<name>:<subject>
-- ARGV  1 how long a token takes to come back, in ms   2 how many the bucket holds   3 tokens to take, or -1
-- Returns 0, or in how many ms there are so many again

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + ARGV[1] * ARGV[3]
-- Whole ms: at this size a number's last binary places are noise, which would keep a full bucket shut.
local over = math.floor(full_at - now - ARGV[1] * ARGV[2])
if over > 0 then return over end
if full_at > now then
  redis.call('SET', KEYS[1], full_at, 'PX', math.ceil(full_at - now))
else
  redis.call('DEL', KEYS[1])
end
return 0
