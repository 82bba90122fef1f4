-- The overrides of a partition that are in force.
--
-- KEYS  1 the overrides of the partition
-- ARGV  1 the time
-- Reply the key of the limit's state, the number, and until when, of each

local reply = {}
local all = call('HGETALL', KEYS[1])
for position = 1, #all, 2 do
  local number, till = read('>I8I8', all[position + 1])
  if real < till then
    local at = #reply
    reply[at + 1], reply[at + 2], reply[at + 3] = all[position], number, till
  end
end
return reply
