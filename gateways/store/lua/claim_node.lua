-- Take over the burial of a node whose lease ran out. The claim is a lease itself: should the claimer die
-- over it, the next one takes it from there.
--
-- KEYS  1 {nodes}:leases   2 {nodes}:claims
-- ARGV  1 the dead node's id   2 the claimer's id   3 lease in ms
-- Returns 1 where the claim is ours, 0 where the node lives or another was first

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expiry = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not expiry or tonumber(expiry) > now then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
