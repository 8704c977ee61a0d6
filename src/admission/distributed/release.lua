-- Requests have ended: their slots are free, their tokens are settled, and the next waiters are woken.
--
-- KEYS  all slots
-- ARGV  'slot', the user's slots, id | 'tokens', the user, id, tokens held, tokens spent, tokens a minute, sent before (0, 1) | …

local freed = {}

-- Wakes as many waiters as places became free.
local function wake(base)
  local nth = freed[base] or 0
  freed[base] = nth + 1
  local next = redis.call('ZRANGE', base .. ':waiting', nth, nth)[1]
  if next then
    local gateway, number = string.match(next, '^(.*):(%d+)$')
    redis.call('PUBLISH', 'concierge:wake:' .. gateway, number)
  end
end

local function release(base, id)
  local left = redis.call('ZREM', base .. ':held', id) + redis.call('ZREM', base .. ':waiting', id)
  redis.call('ZREM', base .. ':seen', id)
  if left > 0 then
    wake(base)
  end
end

-- A message that was sent twice must not be paid twice.
local function settle(user, id, hold, spent, limit, again)
  local book, holds = user .. ':tokens', user .. ':holds'
  local was = redis.call('HMGET', book, 'spent', 'at', 'held')
  local owed, held = tonumber(was[1] or 0), tonumber(was[3] or 0)
  owed = math.max(0, owed - math.max(0, now - tonumber(was[2] or now)) * limit / 60000)
  local known = redis.call('ZREM', holds, id .. ' ' .. hold) == 1
  if known then
    held = math.max(0, held - tonumber(hold))
  end
  if known or not again then
    owed = owed + spent
  end
  redis.call('HSET', book, 'spent', string.format('%.6f', owed), 'at', whole(now), 'held', whole(held))
  redis.call('PEXPIRE', book, whole(math.ceil((owed + held) * 60000 / limit) + 120000))
end

local i = 1
while ARGV[i] do
  if ARGV[i] == 'slot' then
    release(ARGV[i + 1], ARGV[i + 2])
    release(KEYS[1], ARGV[i + 2])
    i = i + 3
  else
    local spent, limit = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
    settle(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], spent, limit, ARGV[i + 6] == '1')
    i = i + 7
  end
end
return 0
