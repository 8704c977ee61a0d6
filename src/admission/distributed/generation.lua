-- What the steps below share: the server's clock, and the generation, whose keys begin with `concierge:era`.
--
-- A generation is a time in which Redis has forgotten nothing. It ends with another server process (its run id), with a flush, and
-- with a silence in which leases may have ended that nobody could renew. A new one opens when the gateways that are known to
-- live have renewed what they hold, or have had the time to.

local SILENCE = 15000 -- half of a lease: within it none can have ended unnoticed
local PATIENCE = 3000 -- for gateways that do not come back

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

-- When the generation of `run` began, and whether it is open.
local function generation(key, run)
  local was = redis.call('HMGET', key, 'run', 'pulse', 'began', 'open')
  local began, open = tonumber(was[3] or 0), was[4] == '1'
  if was[1] ~= run or now - tonumber(was[2] or 0) > SILENCE then
    redis.call('DEL', key, key .. ':here')
    redis.call('HSET', key, 'run', run, 'began', whole(now))
    began, open = now, false
  end
  redis.call('HSET', key, 'pulse', whole(now))
  if not open then
    local is = redis.call('HMGET', key, 'claimed', 'least')
    local here = redis.call('SCARD', key .. ':here')
    local complete = here > 0 and here >= tonumber(is[1] or 0)
    if now - began >= PATIENCE or (complete and now - began >= tonumber(is[2] or 0)) then
      redis.call('HSET', key, 'open', '1')
      open = true
    end
  end
  return began, open
end
