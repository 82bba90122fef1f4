-- The limits of the call with their states, and the time at which the call is decided.

local count = #ARGV - 6
local states, overrides, limits = {}, {}, {}
local now = real

if count > 0 then
  states = call('MGET', unpack(KEYS, 1, count))
  overrides = call('HMGET', KEYS[count + 1], unpack(KEYS, 1, count))
end
for i = 1, count do
  local spec, state = ARGV[i + 6], states[i]
  local kind, shadow, limit, cost, span = read('>c1c1I8I8I8', spec)
  -- All that is known of it later, so that the table need not grow.
  local it
  if kind == 'w' or kind == 'l' then
    it = {
      kind = kind, shadow = shadow == 's', limit = limit, cost = cost, span = span, force = limit, state = false,
      born = 0, newest = 0, exceeded = false, used = 0, total = 0, first = 0, entries = 0, gone = 0, last = false,
    }
  else
    it = {
      kind = kind, shadow = shadow == 's', limit = limit, cost = cost, span = span, force = limit, state = false,
      born = 0, newest = 0, exceeded = false, used = 0, tat = 0, refunded = 0, start = false, ends = false,
    }
  end
  limits[i] = it
  if kind == 'k' then
    it.account = account(state)
    if not it.account then state = false end
  end
  if state then
    local found = sub(state, 1, 1)
    if found == kind or (#state > 16 and string.find('wbcl', found, 1, true)) then
      it.born, it.newest = read('>I8I8', state, 2)
      if it.newest > now then now = it.newest end
      -- One of another algorithm counts as unused, but for its time.
      if found == kind then it.state = state end
    end
  end
end
