-- What is kept of an account of credits.
--
-- k, born, newest, then 16 digits of the server's run_id, then epoch, left, behind, step, withdrawn (8 bytes each, big-endian).

-- How long after the last time that something was done with it. 400 days.
local ACCOUNT_KEPT = 34560000000000
local NO_ACCOUNT = { left = 0, behind = 0, step = 0 }

-- Which server this is. A server that was started again, or a copy of one that is gone, may know less than has been answered for.
local run
local function this_run()
  if not run then
    local info = redis.pcall('INFO', 'server')
    run = sub((type(info) == 'string' and string.match(info, 'run_id:(%x+)') or '') .. string.rep('-', 16), 1, 16)
  end
  return run
end

-- The account of this state; nil: there is none, or another server's.
local function account(state)
  if not state or #state ~= 73 or sub(state, 1, 1) ~= 'k' or sub(state, 18, 33) ~= this_run() then return nil end
  local epoch, left, behind, step, withdrawn = read('>I8I8I8I8I8', state, 34)
  return { epoch = epoch, left = left, behind = behind, step = step, withdrawn = withdrawn }
end

local function packed(it, born, newest)
  return 'k' .. pack('>I8I8', born, newest) .. this_run()
    .. pack('>I8I8I8I8I8', it.epoch, it.left, it.behind, it.step, it.withdrawn)
end

