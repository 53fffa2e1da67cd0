-- A node died: take away the sessions it held of this user, and the vacancy it can no longer bury.
--
-- KEYS  1 u:{id}:sessions   2 u:{id}:state
-- ARGV  1 the dead node's id
-- Returns {sessions removed, untold 0|1, online 0|1, generation, email, last seen ms}
--
-- `untold`: nobody has announced yet how the user's presence stands; the dead node may have been about to.

local removed = 0
for _, session in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.match(session, '^[^.]+') == ARGV[1] then
    removed = removed + redis.call('HDEL', KEYS[1], session)
  end
end
local state = redis.call('HMGET', KEYS[2],
  'online', 'generation', 'email', 'last_seen', 'vacated_by', 'announced')
local online, generation = state[1] == '1', tonumber(state[2] or 0)
local orphaned = removed > 0 or state[5] == ARGV[1]
if online and orphaned and redis.call('HLEN', KEYS[1]) == 0 then
  local time = redis.call('TIME')
  online, generation = false, math.max(generation + 1, time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[2], 'online', 0, 'generation', generation)
end
local untold = generation > tonumber(state[6] or 0)
return {
  removed, untold and 1 or 0, online and 1 or 0, generation, state[3] or '', tonumber(state[4] or 0)
}
