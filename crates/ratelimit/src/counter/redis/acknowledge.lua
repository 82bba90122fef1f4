-- Forgets a batch, if it is the one that waits.
--
-- KEYS  1 the batch that waits for its acknowledgement
-- ARGV  1 the id that was acknowledged

if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then
  redis.call('UNLINK', KEYS[1])
end
return 1
