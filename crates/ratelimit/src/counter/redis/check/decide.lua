-- What stands in the way of the call: `by` (the position of the enforced limit that makes it wait longest) and `wait`.

-- Later than every time: what could never pass.
local NEVER = 9007199254740991
-- 400 days.
local MAX_WINDOW = 34560000000000

-- The first time from `now` on at which the call passes this limit, with this number in force for ever.
local function fits_at(it, limit)
  local wanted = it.cost > 0 and it.cost or 1
  if it.kind == 'k' then return it.account and it.account.left >= wanted and now or NEVER end
  if wanted > limit then return NEVER end
  if not it.state then return now end
  local kind = it.kind
  if kind == 'w' or kind == 'l' then
    if it.used + wanted <= limit then return now end
    -- So many must leave: the last of them does so with the last entry that has fewer before it.
    local stride, stays = STRIDE[kind], it.first + it.used + wanted - limit
    if it.head and read('>I8', it.state, FIRST + 8 + (it.entries - 1) * stride) < stays then whole(it) end
    local state, low, high = it.state, it.gone + 1, it.entries
    -- Mostly it is the oldest.
    if low < high and read('>I8', state, FIRST + 8 + low * stride) >= stays then high = low end
    while low < high do
      local middle = floor((low + high + 1) / 2)
      if read('>I8', state, FIRST + 8 + (middle - 1) * stride) < stays then low = middle else high = middle - 1 end
    end
    local time = read('>I8', state, FIRST + (low - 1) * stride)
    -- A lease says itself when it ends.
    return kind == 'w' and time + it.span or time
  end
  if kind == 'b' then
    return max(max(it.tat, now) + wanted * it.span - limit * it.span, now)
  end
  if it.newest < it.start or it.used + wanted <= limit then return now end
  return it.ends
end

local by, wait, lacking = 0, 0, 0
for i = 1, count do
  local it, state, override = limits[i], limits[i].state, overrides[i]
  local kind = it.kind
  if kind == 'w' or kind == 'l' then
    if state then
      local total = read('>I8', state, 18)
      local horizon = kind == 'w' and now - it.span or now
      it.total = total
      if it.head and read('>I8', state, FIRST) <= horizon then whole(it) end
      it.entries, it.gone, it.first = live(it.state, STRIDE[kind], horizon, total)
      it.used = total - it.first
    end
  elseif kind == 'b' then
    if state then it.tat, it.refunded = read('>I8I8', state, 18) end
  elseif kind ~= 'k' then
    local bounds = { read('>I8I8I8I8', ARGV[i + 6], 19) }
    for bound = 1, 3 do
      if bounds[bound] <= now and now < bounds[bound + 1] then it.start, it.ends = bounds[bound], bounds[bound + 1] end
    end
    -- The periods do not reach to this time: the caller asks again with others.
    if not it.start then return { -1, now } end
    it.used = state and read('>I8', state, 18) or 0
  end
  local passes
  if override and kind ~= 'k' then
    local number, ends = read('>I8I8', override)
    if now < ends then
      if kind == 'b' then number = math.min(number, floor(MAX_WINDOW / it.span)) end
      it.force, it.replaced = number, ends
      passes = fits_at(it, number)
      -- After that it is the limit's own number again.
      if passes >= ends then passes = max(fits_at(it, it.limit), ends) end
    end
  end
  passes = passes or fits_at(it, it.limit)
  if passes > now then
    it.exceeded = true
    if kind == 'k' then
      lacking = i
    elseif not it.shadow and passes - real > wait then
      by, wait = i, passes - real
    end
  end
end
-- No other wait is as long: that for an override to end, and for a window to pass after it.
if wait > 4 * MAX_WINDOW then return { -2, by } end
-- That is no matter of time, so a limit that denies is told first.
if by == 0 then by = lacking end
