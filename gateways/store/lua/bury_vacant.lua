-- The grace after a dropped last session is over: offline, unless somebody came back meanwhile.
--
-- KEYS  1 u:{id}:sessions   2 u:{id}:state
-- ARGV  1 vacancy number
-- Returns {went offline 0|1, generation, email, last seen ms}

local state = redis.call('HMGET', KEYS[2], 'vacancy', 'online', 'generation', 'email', 'last_seen')
local generation = tonumber(state[3] or 0)
if state[1] ~= ARGV[1] or state[2] ~= '1' or redis.call('HLEN', KEYS[1]) > 0 then
  return {0, generation, state[4] or '', tonumber(state[5] or 0)}
end
local time = redis.call('TIME')
generation = math.max(generation + 1, time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[2], 'online', 0, 'generation', generation)
return {1, generation, state[4] or '', tonumber(state[5] or 0)}
