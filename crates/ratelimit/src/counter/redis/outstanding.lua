-- How long a change of a partition's limits waits until nothing is accepted any more that was charged before it.

-- No block is longer, whatever the clock was set to since.
local LONGEST = 100000

-- Microseconds; `marker` is the name of the time until which something of the partition is charged ahead.
local function charged_ahead(marker)
  local till = tonumber(call('GET', marker) or 0)
  return math.min(max(till - real, 0), LONGEST)
end
