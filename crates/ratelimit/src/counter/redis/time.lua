-- The beginning of every script: the time.
--
-- ARGV  1 the time in microseconds, or '' for the server's own
--
-- Microseconds have 16 digits: exact as Lua's numbers (doubles, exact to 2^53), and as arguments of redis.call, but tostring
-- and .. would keep 14. What becomes part of a text goes through string.format.

-- What is used often is looked up once.
local call, read, pack, sub = redis.call, struct.unpack, struct.pack, string.sub
local floor, max = math.floor, math.max

local real = tonumber(ARGV[1])
if not real then
  local time = call('TIME')
  real = time[1] * 1000000 + time[2]
end

-- How much longer than it counts a thing is kept, for a clock that is turned back.
local SLACK = 60000000
