-- Append one message to the inbox of each recipient, and find the nodes that hold their sessions.
--
-- KEYS  four a recipient: u:{id}:inbox, u:{id}:state, u:{id}:sessions, u:{id}:got:<sender>:<message id>
-- ARGV  1 message body   2 inbox ttl in ms (0: no inbox)   3 entries to keep at least
--       4 how long a repeated message id is recognised, in ms (0: it is the server's own, nobody repeats it)
--       5 epoch to begin with where there is none
-- Returns one string a recipient: "<seq> <epoch> <node> <node> …"; "0" where nothing could be stored. A
-- repeated message gets its first seq with a "=" in front, and its first answer, "sent" or "queued".
--
-- Each recipient stands for itself: one whose keys are broken fails alone and leaves no hole in its seq.

local body, ttl, length, repeat_ms, new_epoch =
  ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function deliver(inbox, state, sessions, got)
  if repeat_ms > 0 then
    local first = redis.call('GET', got)
    if first then
      -- A write, so that whoever waits for the disk waits for what the first call wrote.
      redis.call('PEXPIRE', got, repeat_ms)
      return '=' .. first
    end
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
  local seq, epoch = tonumber(count[1] or 0) + 1, count[2]
  if not epoch then
    redis.call('DEL', inbox)
    redis.call('HSET', state, 'epoch', new_epoch)
    seq, epoch = 1, new_epoch
  end
  if ttl > 0 then
    redis.call('XADD', inbox, 'MAXLEN', '~', length, seq .. '-0', 'b', body, 't', now)
    redis.call('PEXPIRE', inbox, ttl)
  end
  redis.call('HSET', state, 'seq', seq)
  if repeat_ms > 0 then
    redis.call('SET', got, seq .. (#nodes > 0 and ' sent' or ' queued'), 'PX', repeat_ms)
  end
  return seq .. ' ' .. epoch .. ' ' .. table.concat(nodes, ' ')
end

local answers = {}
for i = 1, #KEYS, 4 do
  local stored, answer = pcall(deliver, KEYS[i], KEYS[i + 1], KEYS[i + 2], KEYS[i + 3])
  answers[#answers + 1] = stored and answer or '0'
end
return answers
