-- Decides one call against all its limits and counts it, in one step. The rules are those of engine.rs.
--
-- KEYS  the state of each limit; then the tally, if the call is tallied; then the request, if it has an id
-- ARGV  1 the time in microseconds, or '' for the server's own    2 how many limits
--       3 '1': change nothing                                     4, 5 the tally's code and subject, if passed, if denied
--       6 '1': the call has a request id                          7… limit, window (microseconds) and cost of each limit
-- Reply {} if the request id was used for other charges; else
--       {position of the limit that denied or 0, wait, remaining and reset of each limit}
--
-- Microseconds have 16 digits: exact as Lua's numbers (doubles, exact to 2^53), but tostring and .. would keep 14.
-- Whatever becomes text goes through whole().

local REMEMBERED = 600000000
local SLACK = 60000000

local count = tonumber(ARGV[2])
local peek = ARGV[3] == '1'
local passed, denied = ARGV[4], ARGV[5]
local identified = ARGV[6] == '1'

local function whole(number)
  return string.format('%.0f', number)
end

local function pack(number)
  return struct.pack('>I8', number)
end

-- The number at a position, from 1, in packed numbers.
local function at(packed, position)
  return (struct.unpack('>I8', packed, position * 8 - 7))
end

local function milliseconds(micros)
  return whole(math.ceil(micros / 1000))
end

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- How many accept times of a state have left the window.
local function gone(times, window, now)
  -- Mostly none has, and looking at the oldest tells.
  if #times == 0 or at(times, 1) + window > now then return 0 end
  local low, high = 1, #times / 8
  while low < high do
    local middle = math.floor((low + high) / 2)
    if at(times, middle + 1) + window <= now then low = middle + 1 else high = middle end
  end
  return low
end

local real = clock()

-- A retry of an accepted call is answered as the call was.
local fingerprint
if identified then
  local charges = {}
  for i = 1, count do charges[i] = KEYS[i] .. ' ' .. ARGV[3 * i + 6] end
  fingerprint = redis.sha1hex(table.concat(charges, ' '))
  local kept = redis.call('GET', KEYS[#KEYS])
  if kept and real < at(kept, 1) + REMEMBERED then
    if string.sub(kept, 9, 48) ~= fingerprint then return {} end
    local answer, packed = {}, string.sub(kept, 49)
    for position = 1, #packed / 8 do answer[position] = at(packed, position) end
    return answer
  end
end

local states = count > 0 and redis.call('MGET', unpack(KEYS, 1, count)) or {}
local now = real
for i = 1, count do
  local times = states[i] or ''
  states[i] = times
  if #times > 0 then now = math.max(now, at(times, #times / 8)) end
end

local limits, by, wait = {}, 0, 0
for i = 1, count do
  local limit, window, cost = tonumber(ARGV[3 * i + 4]), tonumber(ARGV[3 * i + 5]), tonumber(ARGV[3 * i + 6])
  local times = states[i]
  local total, left = #times / 8, gone(times, window, now)
  local used, wanted = total - left, math.max(cost, 1)
  limits[i] = { limit = limit, window = window, cost = cost, left = left, used = used }
  if used + wanted > limit then
    local free = at(times, total + wanted - limit) + window
    if free - real > wait then by, wait = i, free - real end
  end
end

local answer = { by, wait }
for i = 1, count do
  local it, times = limits[i], states[i]
  local taken = (by == 0 and not peek) and it.cost or 0
  local newest = taken > 0 and now or (it.used > 0 and at(times, #times / 8))
  if taken > 0 then
    local kept = string.sub(times, it.left * 8 + 1) .. string.rep(pack(now), taken)
    redis.call('SET', KEYS[i], kept, 'PX', milliseconds(now + it.window - real + SLACK))
  end
  answer[2 * i + 1] = math.max(it.limit - it.used - taken, 0)
  answer[2 * i + 2] = newest and newest + it.window - real or 0
end

if passed ~= '' and not peek then
  local tally = KEYS[count + 1]
  local cell = whole(math.floor(real / 60000000)) .. ' ' .. (by == 0 and passed or denied)
  local counted = redis.call('HGET', tally, cell)
  local calls, last = 0, 0
  if counted then calls, last = at(counted, 1), at(counted, 2) end
  redis.call('HSET', tally, cell, pack(calls + 1) .. pack(math.max(last, real)))
end

if identified and by == 0 then
  local packed = {}
  for position = 1, #answer do packed[position] = pack(answer[position]) end
  local kept = pack(real) .. fingerprint .. table.concat(packed)
  redis.call('SET', KEYS[#KEYS], kept, 'PX', milliseconds(REMEMBERED + SLACK))
end

return answer
