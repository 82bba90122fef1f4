-- Ends an override, if it is there.
--
-- KEYS  1 the overrides of the partition   2 until when something of the partition is charged ahead
-- ARGV  1 the time   2 the key of the limit's state
-- Reply how many microseconds to wait until it is so everywhere

call('HDEL', KEYS[1], ARGV[2])
return charged_ahead(KEYS[2])
