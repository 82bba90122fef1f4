-- Gives back what a remembered call did not cost.
--
-- KEYS  1 what is remembered of the call; the states of its limits are in the same slot, and only that knows them
-- ARGV  1 the time   2 's': settle, 'r': refund   3 the length of the beginning that the keys of all states have
--       4 the request id   5… name and cost of each limit that does not keep what was reserved; '*' names all others
-- Reply {'returned', units of each limit…}, or {'unknown'}, {'settled'} (otherwise), {'name', name}, {'cost', name}

local MOST_REFUNDED = 1125899906842624

local kept = call('GET', KEYS[1])
local record = kept and cmsgpack.unpack(kept)
if not record or real >= record.hold_until then return { 'unknown' } end

-- What each limit turned out to cost. Of several mistakes the first by name is told.
local refund, costs = ARGV[2] == 'r', {}
for i, charge in ipairs(record.charges) do
  charge.name = string.match(sub(charge.key, tonumber(ARGV[3]) + 1), '^[^:]*')
  costs[i] = refund and 0 or charge.cost
end
local named = {}
for position = 5, #ARGV, 2 do named[ARGV[position]] = true end
for position = 5, #ARGV, 2 do
  local name, cost, found = ARGV[position], tonumber(ARGV[position + 1]), false
  for i, charge in ipairs(record.charges) do
    if name == '*' then
      found = found or cost <= charge.cost
      if not named[charge.name] then costs[i] = math.min(cost, charge.cost) end
    elseif charge.name == name then
      if cost > charge.cost then return { 'cost', name } end
      found, costs[i] = true, cost
    end
  end
  if not found then return { name == '*' and 'cost' or 'name', name } end
end

local settled = record.settled
if settled then
  local same = settled.refund == refund
  for i = 1, #costs do same = same and settled.costs[i] == costs[i] end
  if not same then return { 'settled' } end
  return { 'returned', unpack(settled.returned) }
end

-- The log without so many units of the entry at this place, from 0; and without the entry if it has no more.
local function without(state, stride, place, units)
  local log, total = sub(state, FIRST), read('>I8', state, 18)
  local from = place * stride
  local _, before = read('>I8I8', log, from + 1)
  local after = from + stride < #log and read('>I8', log, from + stride + 9) or total
  local all = after - before
  units = math.min(units, all)
  local parts = { sub(log, 1, units == all and from or from + stride) }
  for later = from + stride + 1, #log, stride do
    local time, running = read('>I8I8', log, later)
    parts[#parts + 1] = pack('>I8I8', time, running - units) .. sub(log, later + 16, later + stride - 1)
  end
  return units, sub(state, 1, 17) .. pack('>I8', total - units) .. table.concat(parts)
end

local gives = {}

function gives.w(state, charge, back, at)
  local span, grain = charge.mark[1], charge.mark[2]
  -- The first entry that is not older than the call.
  local entries, place = live(state, 16, record.at - 1, 0)
  if place == entries then return 0 end
  local time = read('>I8', state, FIRST + place * 16)
  -- Its own may be forgotten, and this be a later one with the units of others.
  if floor(time / grain) ~= floor(record.at / grain) or time + span <= at then return 0 end
  return without(state, 16, place, back)
end

function gives.b(state, charge, back, at)
  local interval, ends = charge.mark[1], charge.mark[2]
  local tat, refunded = read('>I8I8', state, 18)
  if refunded > MOST_REFUNDED then return 0 end
  ends = ends - refunded
  local start = ends - charge.cost * interval
  local units = math.min(back, floor(max(ends - max(start, at), 0) / interval))
  local moved = units * interval
  return units, sub(state, 1, 17) .. pack('>I8I8', tat - moved, refunded + moved)
end

function gives.c(state, charge, back, at)
  if at >= charge.mark[1] then return 0 end
  local used = read('>I8', state, 18)
  local units = math.min(back, used)
  return units, sub(state, 1, 17) .. pack('>I8', used - units)
end

function gives.l(state, charge, _, at)
  local ends, lease = charge.mark[1], sub(redis.sha1hex(ARGV[4]), 1, 16)
  if ends <= at then return 0 end
  local entries, place = live(state, 32, ends - 1, 0)
  while place < entries do
    local time = read('>I8', state, FIRST + place * 32)
    if time ~= ends then return 0 end
    local id = sub(state, FIRST + place * 32 + 16, FIRST + place * 32 + 31)
    if id == lease then return without(state, 32, place, MOST_REFUNDED) end
    place = place + 1
  end
  return 0
end

function gives.k(state, charge, back)
  local found = account(state)
  if not found or found.epoch ~= charge.mark[1] then return 0 end
  found.left = found.left + back
  local born, newest = read('>I8I8', state, 2)
  return back, packed(found, born, newest)
end

local returned = {}
for i, charge in ipairs(record.charges) do
  local state = charge.mark[1] and call('GET', charge.key)
  local units, changed = 0, nil
  if state and sub(state, 1, 1) == charge.kind then
    local born, newest = read('>I8I8', state, 2)
    if born <= record.at then
      units, changed = gives[charge.kind](state, charge, charge.cost - costs[i], max(real, newest))
    end
    if changed then call('SET', charge.key, changed, 'KEEPTTL') end
  end
  returned[i] = units
  charge.name = nil
end
record.settled = { refund = refund, costs = costs, returned = returned }
call('SET', KEYS[1], cmsgpack.pack(record), 'KEEPTTL')
return { 'returned', unpack(returned) }
