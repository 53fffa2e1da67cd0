-- A node died: take away the sessions it held of this user, and the vacancy it can no longer bury.
--
-- KEYS  1 u:{id}:sessions   2 u:{id}:state
-- ARGV  1 the dead node's id
-- Returns {sessions removed, went offline 0|1, generation, email, last seen ms}

local removed = 0
for _, session in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.match(session, '^[^.]+') == ARGV[1] then
    removed = removed + redis.call('HDEL', KEYS[1], session)
  end
end
local state = redis.call('HMGET', KEYS[2], 'online', 'generation', 'email', 'last_seen', 'vacated_by')
local generation, email, last_seen = tonumber(state[2] or 0), state[3] or '', tonumber(state[4] or 0)
local orphaned = removed > 0 or state[5] == ARGV[1]
if state[1] ~= '1' or not orphaned or redis.call('HLEN', KEYS[1]) > 0 then
  return {removed, 0, generation, email, last_seen}
end
local time = redis.call('TIME')
generation = math.max(generation + 1, time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[2], 'online', 0, 'generation', generation)
return {removed, 1, generation, email, last_seen}
