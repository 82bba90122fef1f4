-- Answers, counts the call in the tally, and remembers it.

local answer = { by, wait }
if count > 0 then answer = { by, wait, 0, 0, 0, 0, 0 } end
for i = 1, count do
  local it, at = limits[i], 5 * i - 2
  local remaining, reset, period = it.force, 0, 0
  local kind, used = it.kind, it.used
  if kind == 'w' or kind == 'l' then
    remaining = remaining - used
    if used > 0 then
      local stride, last = STRIDE[kind], it.last
      if not last then
        local entry = it.head and call('GETRANGE', it.key, -stride, -1) or it.state
        last = read('>I8', entry, #entry - stride + 1)
      end
      reset = (kind == 'w' and last + it.span or last) - real
    end
  elseif kind == 'k' then
    local found = it.account or NO_ACCOUNT
    it.force, remaining, reset = found.step, found.left, found.behind
  elseif kind == 'b' then
    local missing = max(it.tat - now, 0)
    remaining = floor((it.force * it.span - missing) / it.span)
    reset = max(it.tat - real, 0)
  else
    period = it.ends - it.start
    if it.used > 0 and it.newest >= it.start then
      remaining, reset = remaining - it.used, it.ends - real
    end
  end
  answer[at], answer[at + 1], answer[at + 2] = it.force, remaining > 0 and remaining or 0, reset
  answer[at + 3], answer[at + 4] = period, it.exceeded and 1 or 0
end

-- Whoever lacks credits may deposit some and ask again.
if tallied and not (by > 0 and limits[by].kind == 'k') then
  local tally = KEYS[count > 0 and count + 2 or 1]
  local code = ARGV[3]
  if by > 0 then code = limits[by].kind == 'c' and 'QUOTA_EXCEEDED' or 'RATE_LIMITED' end
  local subject, rest = read('s', ARGV[4])
  local client = sub(ARGV[4], rest)
  local cell = string.format('%.0f %s %s', floor(real / 60000000), code, subject)
  local counted = call('HGET', tally, cell)
  local calls, last = 0, 0
  if counted then calls, last = read('>I8I8', counted) end
  -- Of the latest call, whoever was counted last.
  if last > real then client = sub(counted, 17) end
  call('HSET', tally, cell, pack('>I8I8', calls + 1, max(last, real)) .. client)
end

if identified and by == 0 then
  -- A retry is known for ten minutes at least.
  local hold = tonumber(ARGV[6])
  local known = max(hold, 600000000)
  local charges = {}
  for i = 1, count do charges[i] = { key = KEYS[i], kind = limits[i].kind, cost = limits[i].cost, mark = marks[i] } end
  local record = { at = now, hold_until = real + hold, known_until = real + known, charges = charges, answer = answer }
  call('SET', KEYS[#KEYS], cmsgpack.pack(record), 'PX', math.ceil((known + SLACK) / 1000))
end
