-- How what was accepted is given back. A record has `at`, the time at which its charges were accepted, and `dated`, the time
-- as of which a log has them, if that is another. ARGV[4] is the id of the request that holds a lease.

local MOST_REFUNDED = 1125899906842624

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

function gives.w(state, record, charge, back, at)
  local span, grain = charge.mark[1], charge.mark[2]
  local dated = record.dated or record.at
  -- The first entry that is not older than the call.
  local entries, place = live(state, 16, dated - 1, 0)
  if place == entries then return 0 end
  local time = read('>I8', state, FIRST + place * 16)
  -- Its own may be forgotten, and this be a later one with the units of others.
  if floor(time / grain) ~= floor(dated / grain) or time + span <= at then return 0 end
  return without(state, 16, place, back)
end

function gives.b(state, _, charge, back, at)
  local interval, ends = charge.mark[1], charge.mark[2]
  local tat, refunded = read('>I8I8', state, 18)
  if refunded > MOST_REFUNDED then return 0 end
  ends = ends - refunded
  local start = ends - charge.cost * interval
  local units = math.min(back, floor(max(ends - max(start, at), 0) / interval))
  local moved = units * interval
  return units, sub(state, 1, 17) .. pack('>I8I8', tat - moved, refunded + moved)
end

function gives.c(state, _, charge, back, at)
  if at >= charge.mark[1] then return 0 end
  local used = read('>I8', state, 18)
  local units = math.min(back, used)
  return units, sub(state, 1, 17) .. pack('>I8', used - units)
end

function gives.l(state, _, charge, _, at)
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

function gives.k(state, _, charge, back)
  local found = account(state)
  if not found or found.epoch ~= charge.mark[1] then return 0 end
  found.left = found.left + back
  local born, newest = read('>I8I8', state, 2)
  return back, packed(found, born, newest)
end

-- Gives back so many units of a charge, as far as they can still be given back; and how many those are.
local function give_back(record, charge, back)
  local state = charge.mark[1] and call('GET', charge.key)
  if not state or sub(state, 1, 1) ~= charge.kind then return 0 end
  local born, newest = read('>I8I8', state, 2)
  if born > record.at then return 0 end
  local units, changed = gives[charge.kind](state, record, charge, back, max(real, newest))
  if changed then call('SET', charge.key, changed, 'KEEPTTL') end
  return units
end
