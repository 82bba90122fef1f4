-- Forgets partitions that had no tally, except those that were announced lately: one of them may have one by now.
--
-- KEYS  1 the active partitions
-- ARGV  1 how many seconds is lately   2… the partitions

local now = tonumber(redis.call('TIME')[1])
for position = 2, #ARGV do
  local announced = redis.call('ZSCORE', KEYS[1], ARGV[position])
  if announced and now - tonumber(announced) > tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[1], ARGV[position])
  end
end
return 1
