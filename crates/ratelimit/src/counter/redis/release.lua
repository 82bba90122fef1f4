-- Ends a block of calls that were charged ahead: gives back those that were not accepted, and counts the others in the tally.
-- Once: the block is forgotten in the same step, and one that is not known is none.
--
-- KEYS  1 what was kept of the block   2 the tally, if its calls are tallied
-- ARGV  1 the time   2 how many of the calls were accepted   3… cells of the tally: name, calls, when the last was, and whose
-- Reply 1, or 0 if the block is not known

local kept = call('GET', KEYS[1])
if not kept then return 0 end
local block = cmsgpack.unpack(kept)
local left = block.calls - tonumber(ARGV[2])
for _, charge in ipairs(left > 0 and block.charges or {}) do
  give_back(block, charge, left * charge.cost)
end
for place = 3, #ARGV, 4 do
  local counted = call('HGET', KEYS[2], ARGV[place])
  local calls, last = 0, 0
  if counted then calls, last = read('>I8I8', counted) end
  local more, latest, client = tonumber(ARGV[place + 1]), tonumber(ARGV[place + 2]), ARGV[place + 3]
  -- Of the latest call.
  if last > latest then client = sub(counted, 17) end
  call('HSET', KEYS[2], ARGV[place], pack('>I8I8', calls + more, max(last, latest)) .. client)
end
call('DEL', KEYS[1])
return 1
