-- Append one message to the inbox of each recipient, and find the nodes that hold their sessions.
--
-- KEYS  four a recipient: u:{id}:inbox, u:{id}:state, u:{id}:sessions, u:{id}:got:<sender>:<message id>
-- ARGV  1 message body   2 time of acceptance in ms   3 inbox ttl in ms (0: no inbox)   4 inbox length
--       5 how long a repeated message id is recognised, in ms (0: it is the server's own, nobody repeats it)
--       6 epoch to begin with where there is none
-- Returns one string a recipient: "<seq> <node> <node> …"; "0" where nothing could be stored. A repeated
-- message gets its first seq with a "=" in front, and its first answer: "sent" or "queued" as the only node.
--
-- Each recipient stands for itself: one whose keys are broken fails alone and leaves no hole in its seq.

local body, now, ttl, length, repeat_ms, new_epoch =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6]

local function deliver(inbox, state, sessions, got)
  if repeat_ms > 0 then
    local first = redis.call('GET', got)
    if first then return '=' .. first end
  end

  local nodes, known = {}, {}
  for _, session in ipairs(redis.call('HKEYS', sessions)) do
    local node = string.match(session, '^[^.]+')
    if not known[node] then
      known[node] = true
      nodes[#nodes + 1] = node
    end
  end
  if ttl == 0 and #nodes == 0 then return '0' end

  local count = redis.call('HMGET', state, 'seq', 'epoch')
  local seq = tonumber(count[1] or 0) + 1
  if not count[2] then
    redis.call('DEL', inbox)
    redis.call('HSET', state, 'epoch', new_epoch)
    seq = 1
  end
  if ttl > 0 then
    redis.call('XADD', inbox, 'MAXLEN', length, seq .. '-0', 'b', body, 't', now)
    redis.call('PEXPIRE', inbox, ttl)
  end
  redis.call('HSET', state, 'seq', seq)
  if repeat_ms > 0 then
    redis.call('SET', got, seq .. (#nodes > 0 and ' sent' or ' queued'), 'PX', repeat_ms)
  end
  return seq .. ' ' .. table.concat(nodes, ' ')
end

local answers = {}
for i = 1, #KEYS, 4 do
  local stored, answer = pcall(deliver, KEYS[i], KEYS[i + 1], KEYS[i + 2], KEYS[i + 3])
  answers[#answers + 1] = stored and answer or '0'
end
return answers
