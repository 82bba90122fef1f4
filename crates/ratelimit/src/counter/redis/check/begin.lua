-- Decides one call against all its limits and counts it, in one step.
--
-- KEYS  the state of each limit; the overrides of the partition, if there are limits; the tally, if the call is tallied;
--       what is remembered of the request, if it has an id
-- ARGV  1 the time   2 'p': change nothing   3 the tally's code if the call passes, or '': it is not tallied
--       4 the tally's subject, and after a space its group if it has one; then a zero, and who called   5 the request id, or ''   6 for how long it can be settled, in microseconds
--       7… each limit: kind, 's' if it is only watched, its number, the cost, then its window, interval or lease; or, of a
--       calendar, the bounds of three periods
-- Reply {} if the request id was used for other charges, {-1, time} if the periods of a calendar do not reach to that time;
--       else {position of the limit that denied or 0, wait, and of each limit the number in force, what remains, until when
--       it is reset, the length of the period, whether it stood in the way}

local peek, tallied = ARGV[2] == 'p', ARGV[3] ~= ''
