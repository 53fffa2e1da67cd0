-- Sessions of one user were active. Sessions that have ended meanwhile stay ended.
--
-- KEYS  1 u:{id}:sessions   2 u:{id}:state
-- ARGV  1 newest activity in ms, then pairs: session id, its last activity in ms

if tonumber(ARGV[1]) > tonumber(redis.call('HGET', KEYS[2], 'last_seen') or 0) then
  redis.call('HSET', KEYS[2], 'last_seen', ARGV[1])
end
for i = 2, #ARGV, 2 do
  local record = redis.call('HGET', KEYS[1], ARGV[i])
  if record then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. string.match(record, '|.*$'))
  end
end
return redis.status_reply('OK')
