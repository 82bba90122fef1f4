-- Forgets what limits have counted. A state stays, a moment younger than all that was accepted, so that none of that can be
-- given back to what is counted from now on.
--
-- KEYS  the state of each limit; until when something of the partition is charged ahead
-- ARGV  1 the time
-- Reply how many microseconds to wait until it is so everywhere

local EMPTY = { w = 8, b = 16, c = 8, l = 8 }
for place = 1, #KEYS - 1 do
  local key = KEYS[place]
  local state = redis.pcall('GET', key)
  local empty = type(state) == 'string' and EMPTY[sub(state, 1, 1)]
  if empty then
    local newest = max(real, (read('>I8', state, 10))) + 1
    local kept = sub(state, 1, 1) .. pack('>I8I8', newest, newest) .. string.rep('\0', empty)
    call('SET', key, kept, 'PX', math.ceil((newest - real + SLACK) / 1000))
  end
end
return charged_ahead(KEYS[#KEYS])
