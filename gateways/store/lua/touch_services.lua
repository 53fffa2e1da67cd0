-- Sessions of services were active. Sessions that have ended meanwhile stay ended.
--
-- KEYS  1 {nodes}:services
-- ARGV  pairs: session id, its last activity in ms

for i = 1, #ARGV, 2 do
  local record = redis.call('HGET', KEYS[1], ARGV[i])
  if record then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. string.match(record, '|.*$'))
  end
end
return redis.status_reply('OK')
