-- Notes that a partition may have a tally, at the server's time.
--
-- KEYS  1 the active partitions
-- ARGV  1 the partition

redis.call('ZADD', KEYS[1], redis.call('TIME')[1], ARGV[1])
return 1
