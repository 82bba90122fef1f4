-- The limits of the call with their states, and the time at which the call is decided.

local count = #ARGV - 6
local states, overrides, limits = {}, {}, {}
local now = real
-- Of which of them only the beginning was read.
local heads = false

if count > 0 then
  if long == '' then
    states = call('MGET', unpack(KEYS, 1, count))
  else
    heads = {}
    for i = 1, count do
      if sub(long, i, i) == 'l' then
        local head = call('GETRANGE', KEYS[i], 0, HEAD - 1)
        states[i], heads[i] = head ~= '' and head, #head == HEAD
      else
        states[i] = call('GET', KEYS[i])
      end
    end
  end
  overrides = call('HMGET', KEYS[count + 1], unpack(KEYS, 1, count))
end

-- Reads the rest of a log of which only the beginning is known.
local function whole(it)
  it.state, it.head = call('GET', it.key), false
  it.entries = (#it.state - FIRST + 1) / STRIDE[it.kind]
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
      key = KEYS[i], head = false,
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
      if found == kind then it.state, it.head = state, heads and heads[i] end
    end
  end
end
