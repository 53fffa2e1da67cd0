-- Sessions of this user have been handed everything up to a seq of this epoch.
--
-- KEYS  1 u:{id}:state
-- ARGV  1 epoch   2 seq

local state = redis.call('HMGET', KEYS[1], 'epoch', 'handed')
if state[1] == ARGV[1] and tonumber(ARGV[2]) > tonumber(state[2] or 0) then
  redis.call('HSET', KEYS[1], 'handed', ARGV[2])
end
return redis.status_reply('OK')
