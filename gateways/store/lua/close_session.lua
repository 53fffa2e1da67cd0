-- A session ends. The last one out either says goodbye (offline at once) or leaves the user vacant, until
-- bury_vacant.lua is called with the vacancy's number and nobody has come back.
--
-- KEYS  1 u:{id}:sessions   2 u:{id}:state
-- ARGV  1 session id   2 goodbye 0|1   3 newest handed seq   4 its epoch
-- Returns {existed 0|1, vacancy or 0, untold 0|1, online 0|1, generation, email, last seen ms}
--
-- `untold`: nobody has announced yet how the user's presence stands. Where the first answer was lost, a
-- second call has the same news again, and the vacancy too: nobody else would end it.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node = string.match(ARGV[1], '^[^.]+')
local state = redis.call('HMGET', KEYS[2],
  'epoch', 'handed', 'online', 'generation', 'email', 'vacancy', 'vacated_by', 'announced', 'last_seen')
local online, generation, vacancy = state[3] == '1', tonumber(state[4] or 0), 0
local last_seen = tonumber(state[9] or 0)

if state[1] == ARGV[4] and tonumber(ARGV[3]) > tonumber(state[2] or 0) then
  redis.call('HSET', KEYS[2], 'handed', ARGV[3])
end
local existed = redis.call('HDEL', KEYS[1], ARGV[1])
if existed == 1 then
  last_seen = now
  redis.call('HSET', KEYS[2], 'last_seen', now)
end
if online and redis.call('HLEN', KEYS[1]) == 0 then
  if existed == 0 then
    vacancy = state[7] == node and tonumber(state[6]) or 0
  elseif ARGV[2] == '1' then
    online, generation = false, math.max(generation + 1, now)
    redis.call('HSET', KEYS[2], 'online', 0, 'generation', generation)
  else
    vacancy = redis.call('HINCRBY', KEYS[2], 'vacancy', 1)
    redis.call('HSET', KEYS[2], 'vacated_by', node)
  end
end
local untold = generation > tonumber(state[8] or 0)
return {existed, vacancy, untold and 1 or 0, online and 1 or 0, generation, state[5] or '', last_seen}
