-- A node says that it lives, and learns who does not.
--
-- KEYS  1 {nodes}:leases   2 {nodes}:claims   3 {nodes}:life   4 {nodes}:terms
-- ARGV  1 node id   2 lease in ms   3 a new name, for what begins
-- Returns {the lease's term, claimed by another 0|1, the store's life, node ids whose lease ran out …}
--
-- A lease's term is new where there was none, as after its node was buried. That tells even a node whose
-- call was carried out late, and whose next one finds a lease again.
-- A claimed node does not get its lease back: another node is burying its sessions. A node whose own
-- lease ran out can't judge the others, since the store may have been away for all of them: it gives them
-- another lease to renew in. One that has just begun knows nothing of them, and does neither.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[3], ARGV[3], 'NX')
local mine = redis.call('ZSCORE', KEYS[1], ARGV[1])
local term = redis.call('HGET', KEYS[4], ARGV[1])
if not mine or not term then
  term = ARGV[3]
  redis.call('HSET', KEYS[4], ARGV[1], term)
end
local ran_out = mine and tonumber(mine) <= now
local claimed = redis.call('HEXISTS', KEYS[2], ARGV[1])
if claimed == 0 then
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
end
local answer = {term, claimed, redis.call('GET', KEYS[3])}
if ran_out then
  -- All of them: whoever is left out would be judged by the next to renew, whose lease is good by this.
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
    if redis.call('HEXISTS', KEYS[2], node) == 0 then
      redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), node)
    end
  end
elseif mine then
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 16)) do
    answer[#answer + 1] = node
  end
end
return answer
