-- A session ends. The last one out either says goodbye (offline at once) or leaves the user vacant, until
-- bury_vacant.lua is called with the vacancy's number and nobody has come back.
--
-- KEYS  1 u:{id}:sessions   2 u:{id}:state
-- ARGV  1 session id   2 goodbye 0|1   3 newest handed seq   4 its epoch
-- Returns {existed 0|1, went offline 0|1, generation, vacancy or 0, email, last seen ms}
--
-- Where the first answer was lost, a second call has the vacancy again: nobody else would end it.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node = string.match(ARGV[1], '^[^.]+')
local state = redis.call('HMGET', KEYS[2],
  'epoch', 'handed', 'online', 'generation', 'email', 'vacancy', 'vacated_by')
local generation, email = tonumber(state[4] or 0), state[5] or ''

if state[1] == ARGV[4] and tonumber(ARGV[3]) > tonumber(state[2] or 0) then
  redis.call('HSET', KEYS[2], 'handed', ARGV[3])
end
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then
  local vacant = state[3] == '1' and state[7] == node and redis.call('HLEN', KEYS[1]) == 0
  return {0, 0, generation, vacant and tonumber(state[6]) or 0, email, now}
end
redis.call('HSET', KEYS[2], 'last_seen', now)
if redis.call('HLEN', KEYS[1]) > 0 or state[3] ~= '1' then
  return {1, 0, generation, 0, email, now}
end
if ARGV[2] == '1' then
  generation = math.max(generation + 1, now)
  redis.call('HSET', KEYS[2], 'online', 0, 'generation', generation)
  return {1, 1, generation, 0, email, now}
end
local vacancy = redis.call('HINCRBY', KEYS[2], 'vacancy', 1)
redis.call('HSET', KEYS[2], 'vacated_by', node)
return {1, 0, generation, vacancy, email, now}
