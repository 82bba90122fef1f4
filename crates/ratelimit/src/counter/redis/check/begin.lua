-- Decides one call against all its limits and counts it, in one step.
--
-- KEYS  the state of each limit; the overrides of the partition, if there are limits; the tally, if the call is tallied;
--       what is remembered of the request, if it has an id
-- ARGV  1 the time   2 'p': change nothing, or '-'; then, if some limit's log may be long, a letter for each: 'l' for such a limit
--       3 the tally's code if the call passes, or '': it is not tallied
--       4 the tally's subject, and after a space its group if it has one; then a zero, and who called
--       5 the request id, or ''   6 for how long it can be settled, in microseconds
--       7… each limit: kind, 's' if it is only watched, its number, the cost, then its window, interval or lease; or, of a
--       calendar, the bounds of three periods; or, of credits, 0
-- Reply {} if the request id was used for other charges, {-1, time} if the periods of a calendar do not reach to that time,
--       {-2, position} if the call wants more than that limit ever allows;
--       else {position of the limit that denied or 0, wait, and of each limit the number in force, what remains, until when
--       it is reset, the length of the period, whether it stood in the way; of credits the last step, what remains, what is
--       behind, 0, whether they were lacking}

local peek, tallied = sub(ARGV[2], 1, 1) == 'p', ARGV[3] ~= ''
-- Copying a long log costs more than all the rest, and a call that is denied mostly needs only its beginning. So this much is
-- read first: the state, and its oldest entries.
local long, HEAD = sub(ARGV[2], 2), FIRST - 1 + 64
-- The largest number of which every moment has an entry of its own; of larger ones a sixtieth of the window shares one.
local EXACT = 1024
-- Until when further calls were charged ahead, if they were (ahead.lua), and how many.
local ahead, calls
