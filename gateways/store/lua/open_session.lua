-- A session begins: register it, find where its user's log stands and where the session comes in.
--
-- KEYS  1 u:{id}:sessions   2 u:{id}:state   3 u:{id}:inbox
-- ARGV  1 session id   2 session record (JSON)   3 email or ''   4 epoch to begin with, if there is none
--       5 resume epoch   6 resume seq, or -1 for no resume   7 inbox ttl in ms (0: no inbox)
--       8 inbox length: what is older may still be there, and counts as trimmed
--       9 how many sessions there may be, this one aside (0: any number)
-- Returns {} where there are too many already, else
-- {untold 0|1, generation, email, now ms, epoch, seq, position, missed, reason or ''}
--
-- `untold`: nobody has announced yet that the user is online.
-- `position` is the newest seq the session needs no more. The seqs in an inbox have no holes, so what
-- lies between position and seq can be counted without reading it.

local at_most = tonumber(ARGV[9])
if at_most > 0 and redis.call('HLEN', KEYS[1]) >= at_most and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return {}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[2],
  'epoch', 'seq', 'handed', 'online', 'generation', 'expired', 'announced', 'email')
local epoch, seq, handed = state[1], tonumber(state[2] or 0), tonumber(state[3] or 0)
local online, generation, expired = state[4] == '1', tonumber(state[5] or 0), tonumber(state[6] or 0)
local email = ARGV[3] ~= '' and ARGV[3] or state[8] or ''

if not epoch then
  -- The count is new, or was lost: what an inbox still holds belongs to a count nobody knows.
  redis.call('DEL', KEYS[3])
  epoch, seq, handed, expired = ARGV[4], 0, 0, 0
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'seq', 0, 'handed', 0, 'expired', 0)
end

-- The newest seq that is gone because its whole inbox expired: the inbox that began after it counts its
-- entries anew (Redis, XINFO STREAM).
local function expired_whole()
  local info = redis.call('XINFO', 'STREAM', KEYS[3])
  for i = 1, #info, 2 do
    if info[i] == 'entries-added' then return seq - info[i + 1] end
  end
  return 0
end

local ttl = tonumber(ARGV[7])
local first = nil -- the oldest seq that is still there
if ttl > 0 then
  while true do
    local head = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
    if not head then break end
    local head_seq = tonumber(string.match(head[1], '^%d+'))
    if tonumber(head[2][4]) > now - ttl then first = head_seq break end
    redis.call('XDEL', KEYS[3], head[1])
    expired = head_seq
    redis.call('HSET', KEYS[2], 'expired', expired)
  end
end
if first then first = math.max(first, seq - tonumber(ARGV[8]) + 1) end

local position, reason = handed, ''
if tonumber(ARGV[6]) >= 0 then
  position = tonumber(ARGV[6])
  if ARGV[5] ~= epoch then
    position, reason = 0, 'epoch'
  elseif position > seq then
    position, reason = 0, 'ahead'
  elseif position < seq and (not first or first > position + 1) then
    local too_old = not first or expired > position or expired_whole() > position
    reason = too_old and 'expired' or 'trimmed'
  end
end
position = math.max(position, (first or seq + 1) - 1)

if not online then
  -- The time, so that a generation stays the newest even where the store forgot the last one.
  generation = math.max(generation + 1, now)
  redis.call('HSET', KEYS[2], 'online', 1, 'generation', generation)
end
redis.call('HSET', KEYS[2], 'last_seen', now)
redis.call('PERSIST', KEYS[2]) -- deliver.lua has it expire until its user comes
if email ~= state[8] then redis.call('HSET', KEYS[2], 'email', email) end
redis.call('HSET', KEYS[1], ARGV[1], now .. '|' .. ARGV[2])

local untold = generation > tonumber(state[7] or 0)
return {untold and 1 or 0, generation, email, now, epoch, seq, position, seq - position, reason}
