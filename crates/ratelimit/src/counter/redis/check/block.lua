-- Keeps what is needed to give back what is left of a block, and until when changes of the partition's limits wait for it.
-- Replies, beyond what a check does, how many calls were charged ahead, and for how long.

if not ahead then
  answer[#answer + 1], answer[#answer + 2] = 0, 0
  return answer
end
local charges = {}
for i = 1, count do
  charges[i] = { key = KEYS[i], kind = limits[i].kind, cost = limits[i].one, mark = marks[i] }
end
local block = { at = now, dated = ahead, calls = calls, charges = charges }
call('SET', KEYS[#KEYS], cmsgpack.pack(block), 'PX', 600000)
local marker = KEYS[#KEYS - 1]
if ahead > tonumber(call('GET', marker) or 0) then
  call('SET', marker, string.format('%.0f', ahead), 'PX', math.ceil((ahead - real + SLACK) / 1000))
end
answer[#answer + 1], answer[#answer + 2] = calls, ahead - now
return answer
