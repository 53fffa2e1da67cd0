-- Append one message to the inbox of each recipient, and find the nodes that hold their sessions.
--
-- KEYS  three a recipient: u:{id}:inbox, u:{id}:state, u:{id}:sessions; where a message id may be repeated four:
--       u:{id}:got:<sender>:<message id> too
-- ARGV  1 message body   2 inbox ttl in ms (0: no inbox)   3 entries to keep at least
--       4 how long a repeated message id is recognised, in ms (0: it is the server's own, nobody repeats it)
--       5 epoch to begin with where there is none
-- Returns one string a recipient: "<seq> <epoch> <node> <node> …"; "0" where nothing could be stored. A
-- repeated message gets its first seq with a "=" in front, and its first answer, "sent" or "queued".
--
-- Each recipient stands for itself: one whose keys are broken fails alone and leaves no hole in its seq.

local body, ttl, length, repeat_ms, new_epoch =
  ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local call, match = redis.call, string.match
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- The inbox expires a little later than it must, so that not every append has to put that off.
local slack = math.floor(ttl / 64)

local function nodes_of(sessions)
  local ids = call('HKEYS', sessions)
  if #ids == 0 then return '' end
  local nodes = match(ids[1], '^[^.]+') or ''
  if #ids == 1 then return nodes end
  local known = {[nodes] = true}
  for i = 2, #ids do
    local node = match(ids[i], '^[^.]+')
    if node and not known[node] then
      known[node] = true
      nodes = nodes .. ' ' .. node
    end
  end
  return nodes
end

local function deliver(inbox, state, sessions, got)
  if got then
    local first = call('GET', got)
    if first then
      -- A write, so that whoever waits for the disk waits for what the first call wrote.
      call('PEXPIRE', got, repeat_ms)
      return '=' .. first
    end
  end

  local nodes = nodes_of(sessions)
  if ttl == 0 and nodes == '' then return '0' end

  local count = call('HMGET', state, 'seq', 'epoch', 'expires')
  local seq, epoch, expires = (count[1] or 0) + 1, count[2], tonumber(count[3] or 0)
  local unknown = false
  if not epoch then
    unknown = call('EXISTS', state) == 0
    call('DEL', inbox)
    call('HSET', state, 'epoch', new_epoch)
    seq, epoch, expires = 1, new_epoch, 0
  end
  if ttl > 0 then
    call('XADD', inbox, 'MAXLEN', '~', length, seq .. '-0', 'b', body, 't', now)
  end
  if ttl > 0 and expires < now + ttl then
    call('PEXPIRE', inbox, ttl + slack)
    call('HSET', state, 'seq', seq, 'expires', now + ttl + slack)
    -- Whoever was never here leaves nothing behind once the inbox is gone, since anybody may write to
    -- any id. open_session.lua keeps the state of one who comes.
    if unknown or call('PTTL', state) >= 0 then call('PEXPIRE', state, ttl + 2 * slack) end
  else
    call('HSET', state, 'seq', seq)
  end
  if got then
    call('SET', got, seq .. (nodes ~= '' and ' sent' or ' queued'), 'PX', repeat_ms)
  end
  return seq .. ' ' .. epoch .. ' ' .. nodes
end

local answers = {}
local stride = repeat_ms > 0 and 4 or 3
for i = 1, #KEYS, stride do
  local got = stride == 4 and KEYS[i + 3] or nil
  local stored, answer = pcall(deliver, KEYS[i], KEYS[i + 1], KEYS[i + 2], got)
  if not stored then
    local why = tostring(answer.err or answer)
    for _, kind in ipairs({'OOM', 'READONLY', 'MISCONF', 'NOREPLICAS'}) do
      -- The server takes nobody's writes now: that is no recipient's failure.
      if string.find(why, kind, 1, true) then return redis.error_reply(kind .. ' It takes no writes now.') end
    end
  end
  answers[#answers + 1] = stored and answer or '0'
end
return answers
