-- Makes a step of an account of credits, if it is one that is to be made. The rules are those of engine/credit.rs.
--
-- KEYS  1 the state of the account
-- ARGV  1 the time   2 'o': open, 'd': deposit, 'w': withdraw   3 the epoch   4 the step   5 the amount
--       6 what the account has beside, or '': as it was
-- Reply {} if there is nothing of the account; else {epoch, left, behind, step, withdrawn}

local kind, epoch, step = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local amount, behind = tonumber(ARGV[5]), tonumber(ARGV[6])

local state = call('GET', KEYS[1])
local it, born, newest = account(state), real, real
if it then
  born, newest = read('>I8I8', state, 2)
elseif kind == 'o' and epoch > 0 then
  it = { epoch = epoch, left = 0, behind = 0, step = 0, withdrawn = 0 }
else
  return {}
end

if kind == 'o' then
  it.behind = behind or it.behind
elseif epoch == it.epoch and step > it.step then
  it.step = step
  if kind == 'd' then
    it.withdrawn, it.left, it.behind = 0, it.left + amount, behind or it.behind
  else
    it.withdrawn, it.left = it.left, 0
  end
end
newest = max(newest, real)
call('SET', KEYS[1], packed(it, born, newest), 'PX', math.ceil((newest + ACCOUNT_KEPT - real + SLACK) / 1000))
return { it.epoch, it.left, it.behind, it.step, it.withdrawn }
