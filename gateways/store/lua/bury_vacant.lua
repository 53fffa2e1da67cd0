-- The grace after a dropped last session is over: offline, unless somebody came back meanwhile.
--
-- KEYS  1 u:{id}:sessions   2 u:{id}:state
-- ARGV  1 vacancy number
-- Returns {untold 0|1, online 0|1, generation, email, last seen ms}
--
-- `untold`: nobody has announced yet how the user's presence stands, be it since this call or an earlier
-- one whose answer was lost.

local state = redis.call('HMGET', KEYS[2],
  'vacancy', 'online', 'generation', 'email', 'last_seen', 'announced')
local online, generation = state[2] == '1', tonumber(state[3] or 0)
if state[1] == ARGV[1] and online and redis.call('HLEN', KEYS[1]) == 0 then
  local time = redis.call('TIME')
  online, generation = false, math.max(generation + 1, time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[2], 'online', 0, 'generation', generation)
end
local untold = generation > tonumber(state[6] or 0)
return {untold and 1 or 0, online and 1 or 0, generation, state[4] or '', tonumber(state[5] or 0)}
