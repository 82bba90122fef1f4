-- Gives back what a remembered call did not cost.
--
-- KEYS  1 what is remembered of the call; the states of its limits are in the same slot, and only that knows them
-- ARGV  1 the time   2 's': settle, 'r': refund   3 the length of the beginning that the keys of all states have
--       4 the request id   5… name and cost of each limit that does not keep what was reserved; '*' names all others
-- Reply {'returned', units of each limit…}, or {'unknown'}, {'settled'} (otherwise), {'name', name}, {'cost', name}

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

local returned = {}
for i, charge in ipairs(record.charges) do
  returned[i] = give_back(record, charge, charge.cost - costs[i])
  charge.name = nil
end
record.settled = { refund = refund, costs = costs, returned = returned }
call('SET', KEYS[1], cmsgpack.pack(record), 'KEEPTTL')
return { 'returned', unpack(returned) }
