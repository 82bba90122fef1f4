-- Takes the tally of a partition as a batch, which is the same until it is acknowledged.
--
-- KEYS  1 the tally   2 the batch that waits for its acknowledgement
-- ARGV  1 the id of a new batch   2 most rows of a batch
-- Reply {} if nothing was counted, else {id, cell, counted, cell, counted, …}

local tally, pending = KEYS[1], KEYS[2]
local most = tonumber(ARGV[2])

-- Moves a part of the tally. In pieces, because unpack is bounded by Lua's stack.
local function move()
  local cells = redis.call('HSCAN', tally, 0, 'COUNT', most)[2]
  for first = 1, math.min(#cells, 2 * most), 500 do
    local last = math.min(first + 499, #cells, 2 * most)
    redis.call('HSET', pending, unpack(cells, first, last))
    local names = {}
    for position = first, last, 2 do names[#names + 1] = cells[position] end
    redis.call('HDEL', tally, unpack(names))
  end
end

-- Its id is in a field that no cell is named like: a cell has spaces.
local id = redis.call('HGET', pending, 'id')
if not id then
  local rows = redis.call('HLEN', tally)
  if rows == 0 then return {} end
  if rows <= most then redis.call('RENAME', tally, pending) else move() end
  id = ARGV[1]
  redis.call('HSET', pending, 'id', id)
end

local reply = redis.call('HGETALL', pending)
table.insert(reply, 1, id)
return reply
