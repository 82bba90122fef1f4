-- Charges further calls like this one with it, of which the caller accepts each by itself before a time: `ahead`.
--
-- Where nobody can tell: what shares a grain is freed with its newest, and a calendar counts its period. So a block is dated as
-- of its end, which is in the same grain, in the same period and before the end of an override; other limits have none.
-- And where nobody goes short: it is a small part of what is left, and near the end every call is decided by itself.
--
-- KEYS  behind those of a check: until when something of the partition is charged ahead; what is kept of this block
-- ARGV  6 how many calls at most, and for how long in microseconds (8 bytes each, big-endian)

-- Fewer calls, or a shorter time in microseconds, are not worth it.
local FEWEST, SHORTEST = 8, 1000
-- This part of what is left, at most.
local PART = 16

if by == 0 then
  local length
  calls, length = read('>I8I8', ARGV[6])
  ahead = now + length
  for i = 1, count do
    local it = limits[i]
    local used = it.used
    if it.kind == 'w' and it.force > EXACT then
      local grain = floor((it.span + 59) / 60)
      ahead = math.min(ahead, (floor(now / grain) + 1) * grain - 1)
    elseif it.kind == 'c' then
      if not it.state or it.newest < it.start then used = 0 end
      ahead = math.min(ahead, it.ends)
    else
      calls = 0
    end
    if it.shadow or it.cost == 0 then calls = 0 end
    ahead = math.min(ahead, it.replaced or ahead)
    calls = math.min(calls, floor((it.force - used - it.cost) / (PART * max(it.cost, 1))))
  end
  if calls < FEWEST or ahead - now < SHORTEST then ahead = nil end
end
for i = 1, ahead and count or 0 do
  local it = limits[i]
  it.one, it.cost = it.cost, it.cost * (1 + calls)
end
