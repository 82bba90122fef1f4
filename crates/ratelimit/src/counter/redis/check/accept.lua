-- Charges the limits of a call that passes, and keeps in `marks` what is needed to give it back.

local marks = {}
-- A denied call has no use for any of it.
if by == 0 and not peek then
  -- Running totals are counted anew from here, long before they could grow beyond what a double holds.
  local REBASE = 1125899906842624

  -- A state whose log is counted anew.
  local function rebased(state, stride)
    local total, _, base = read('>I8I8I8', state, 18)
    local parts = { sub(state, 1, 17), pack('>I8', total - base) }
    for place = FIRST, #state, stride do
      local time, before = read('>I8I8', state, place)
      parts[#parts + 1] = pack('>I8I8', time, before - base) .. sub(state, place + 16, place + stride - 1)
    end
    return table.concat(parts)
  end

  local marked = identified or ahead
  for i = 1, count do
    local it = limits[i]
    if it.head then whole(it) end
    local state = it.state
    local kind, cost, span = it.kind, it.cost, it.span
    if cost == 0 or it.exceeded then
      marks[i] = marked and {}
    else
      local born, kept, ends = state and it.born or now, nil, nil
      if kind == 'w' then
        local total, last = it.total + cost, nil
        if it.entries > it.gone then last = read('>I8', state, #state - 15) end
        local grain = it.force <= EXACT and 1 or floor((span + 59) / 60)
        local dated = ahead or now
        if last and (last >= dated or floor(last / grain) == floor(dated / grain)) then
          -- An entry carries its newest time, so that nothing is freed early.
          dated = max(last, dated)
          local others = sub(state, FIRST + it.gone * 16, -17)
          kept = kind .. pack('>I8I8I8', born, now, total) .. others .. pack('>I8', dated) .. sub(state, -8)
        else
          local others = state and sub(state, FIRST + it.gone * 16) or ''
          kept = kind .. pack('>I8I8I8', born, now, total) .. others .. pack('>I8I8', dated, it.total)
        end
        if total > REBASE then kept = rebased(kept, 16) end
        ends, it.used, it.last = dated + span, it.used + cost, dated
        marks[i] = marked and { span, grain }
      elseif kind == 'b' then
        -- All that was taken is refilled, and nothing of it can be given back.
        if it.tat <= now then born, it.tat, it.refunded = now, now, 0 end
        it.tat = it.tat + cost * span
        kept, ends = kind .. pack('>I8I8I8I8', born, now, it.tat, it.refunded), it.tat
        marks[i] = marked and { span, it.tat + it.refunded }
      elseif kind == 'c' then
        if state and it.newest < it.start then it.used = 0 end
        it.used, it.newest = it.used + cost, now
        kept, ends = kind .. pack('>I8I8I8', born, now, it.used), it.ends
        marks[i] = marked and { it.ends }
      elseif kind == 'k' then
        it.account.left = it.account.left - cost
        kept, ends = packed(it.account, born, now), now + ACCOUNT_KEPT
        marks[i] = marked and { it.account.epoch }
      else
        local log, own = state and sub(state, FIRST + it.gone * 32) or '', now + span
        -- Behind all that end no later, which mostly are all.
        local place, before = #log, it.total
        while place > 0 and read('>I8', log, place - 31) > own do
          before = read('>I8', log, place - 23)
          place = place - 32
        end
        local id = sub(redis.sha1hex(ARGV[5]), 1, 16)
        local parts = { sub(log, 1, place), pack('>I8I8', own, before), id }
        for later = place + 1, #log, 32 do
          local time, running = read('>I8I8', log, later)
          parts[#parts + 1] = pack('>I8I8', time, running + cost) .. sub(log, later + 16, later + 31)
        end
        log = table.concat(parts)
        ends = read('>I8', log, #log - 31)
        kept = kind .. pack('>I8I8I8', born, now, it.total + cost) .. log
        if it.total + cost > REBASE then kept = rebased(kept, 32) end
        it.used, it.last = it.used + cost, ends
        marks[i] = marked and { own }
      end
      if ends < now then ends = now end
      call('SET', KEYS[i], kept, 'PX', math.ceil((ends - real + SLACK) / 1000))
    end
  end
end
