-- Puts a number in place of a limit's own.
--
-- KEYS  1 the overrides of the partition   2 until when something of the partition is charged ahead
-- ARGV  1 the time   2 the key of the limit's state   3 the number   4 until when   5 most overrides of a partition
-- Reply how many microseconds to wait until it is so everywhere, or -1 if there are too many

local ends, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local before = call('HGET', KEYS[1], ARGV[2])
local _, live = read('>I8I8', before or string.rep('\0', 16))
if real >= live and call('HLEN', KEYS[1]) >= most then
  local all, lives = call('HGETALL', KEYS[1]), 0
  for position = 1, #all, 2 do
    local _, till = read('>I8I8', all[position + 1])
    if real < till then
      lives = lives + 1
    elseif till + SLACK <= real then
      call('HDEL', KEYS[1], all[position])
    end
  end
  if lives >= most then return -1 end
end
call('HSET', KEYS[1], ARGV[2], pack('>I8I8', tonumber(ARGV[3]), ends))
local life = math.ceil((ends - real + SLACK) / 1000)
if call('PTTL', KEYS[1]) < life then call('PEXPIRE', KEYS[1], life) end
return charged_ahead(KEYS[2])
