-- What a state looks like, and how the log in it is read. The rules are those of engine/.
--
-- A state is its kind (one byte), born, newest (8 bytes each, big-endian), and
--   w  sliding_window  total, and per entry: time, running total before it
--   b  token_bucket    tat, refunded
--   c  calendar        used
--   l  concurrency     total, and per lease: until, running total before it, 16 hexadecimal digits of its request
--   k  credits         as account.lua says
-- Whatever does not begin with one of these is no state.
--
-- Leases are a log whose entries count until their time, and those of a window until its length later.

local FIRST = 26
local STRIDE = { w = 16, l = 32 }

-- Of a log: how many entries there are, how many of them have ended by `horizon`, and the running total before the others.
local function live(state, stride, horizon, total)
  local entries = (#state - FIRST + 1) / stride
  if entries == 0 then return 0, 0, total end
  local time, before = read('>I8I8', state, FIRST)
  -- Mostly none has, and looking at the oldest tells.
  if time > horizon then return entries, 0, before end
  local low, high = 1, entries
  while low < high do
    local middle = floor((low + high + 1) / 2)
    time = read('>I8', state, FIRST + (middle - 1) * stride)
    if time <= horizon then low = middle else high = middle - 1 end
  end
  if low == entries then return entries, entries, total end
  time, before = read('>I8I8', state, FIRST + low * stride)
  return entries, low, before
end
