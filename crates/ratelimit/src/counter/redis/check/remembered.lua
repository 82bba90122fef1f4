-- A retry of an accepted call is answered as the call was.

local identified = ARGV[5] ~= ''
if identified then
  local kept = call('GET', KEYS[#KEYS])
  local record = kept and cmsgpack.unpack(kept)
  if record and real < record.known_until then
    local same = #record.charges == #ARGV - 6
    for i = 1, same and #record.charges or 0 do
      local _, _, _, cost = read('>c1c1I8I8', ARGV[i + 6])
      local charge = record.charges[i]
      same = same and charge.key == KEYS[i] and charge.cost == cost
    end
    if same then return record.answer end
    return {}
  end
end
