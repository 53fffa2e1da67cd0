-- Which nodes hold sessions of each of these users.
--
-- KEYS  u:{id}:sessions of each
-- Returns one string a user: "<node> <node> …"; '' where there is no session

local call, match = redis.pcall, string.match -- a broken key is as none: pcall gives a table without sessions
local answers = {}
for i = 1, #KEYS do
  local ids = call('HKEYS', KEYS[i])
  local nodes, known = '', {}
  for j = 1, #ids do
    local node = match(ids[j], '^[^.]+')
    if node and not known[node] then
      known[node] = true
      nodes = nodes == '' and node or nodes .. ' ' .. node
    end
  end
  answers[i] = nodes
end
return answers
