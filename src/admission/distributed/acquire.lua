-- A request comes: it is counted, its tokens are held back, and it gets a slot or a place among the waiters.
--
-- KEYS  the generation; all slots; the user's slots of the operation; the user; the user's requests of a minute
-- ARGV  id, run id, latest time, | count, requests a minute, tokens a minute, tokens to hold (-1: none)
--       | slot wanted, user's slots, all slots, how many may wait (-1: all), time of arrival, priority | ms of a lease
-- Answers verdict, requests left, until all are left, tokens left, until all are left, when to come back,
--       slot, how many are ahead, now, when the generation began; times in ms.

local id, run, latest = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count, requests, tokens, hold = ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local wanted, own, all, queue = ARGV[8] == '1', tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local arrival, priority, lease = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])

local FINE, LATE, REQUESTS, TOKENS = 0, 1, 2, 3
local UNASKED, GRANTED, WAITS_USER, WAITS_TOTAL, FULL_USER, FULL_TOTAL, SHUT = 0, 1, 2, 3, 4, 5, 6
local STALE = 1500 -- a waiter asks again every 250 ms

-- Whoever asked has given up: nobody would hear the answer.
if now > latest then
  return { LATE, 0, 0, 0, 0, 0, UNASKED, 0, now, 0 }
end

-- The generic cell rate algorithm: one time, at which all requests are left again, in microseconds.
local function count_request()
  if requests == 0 then
    return FINE, 0, 0, 0
  end
  local at, minute = time[1] * 1000000 + time[2], 60000000
  local each = math.max(1, math.floor(minute / requests))
  local rested = math.max(tonumber(redis.call('GET', KEYS[5]) or 0), at)
  local verdict, retry = FINE, 0
  if count then
    local over = rested + each - at - minute
    if over > 0 then
      verdict, retry = REQUESTS, math.ceil(over / 1000)
    else
      rested = rested + each
      redis.call('SET', KEYS[5], whole(rested), 'PX', whole(math.ceil((rested - at) / 1000)))
    end
  end
  local left = math.max(0, math.min(requests, math.floor((minute - (rested - at)) / each)))
  return verdict, left, math.ceil((rested - at) / 1000), retry
end

-- A leaky bucket beside which reservations stand still, until they are settled or their gateway has died.
local function hold_tokens(may)
  if tokens == 0 then
    return FINE, 0, 0, 0
  end
  local book, holds = KEYS[4] .. ':tokens', KEYS[4] .. ':holds'
  local was = redis.call('HMGET', book, 'spent', 'at', 'held')
  local spent, held = tonumber(was[1] or 0), tonumber(was[3] or 0)
  spent = math.max(0, spent - math.max(0, now - tonumber(was[2] or now)) * tokens / 60000)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', holds, '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', holds, gone)
    held = math.max(0, held - tonumber(string.match(gone, '%d+$')))
  end
  local verdict, retry = FINE, 0
  if may and hold >= 0 then
    local amount = math.min(hold, tokens)
    local over = spent + held + math.max(amount, 1) - tokens
    if over > 0 then
      verdict, retry = TOKENS, math.ceil(over * 60000 / tokens)
    else
      held = held + amount
      redis.call('ZADD', holds, whole(now + lease), id .. ' ' .. whole(amount))
      redis.call('PEXPIRE', holds, 2 * lease)
    end
  end
  local full = math.ceil((spent + held) * 60000 / tokens)
  redis.call('HSET', book, 'spent', string.format('%.6f', spent), 'at', whole(now), 'held', whole(held))
  redis.call('PEXPIRE', book, whole(full + 120000))
  return verdict, math.max(0, math.floor(tokens - spent - held)), full, retry
end

local function forget_the_dead(base)
  redis.call('ZREMRANGEBYSCORE', base .. ':held', '-inf', now)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', base .. ':seen', '-inf', now - STALE, 'LIMIT', 0, 100)) do
    redis.call('ZREM', base .. ':waiting', gone)
    redis.call('ZREM', base .. ':seen', gone)
  end
end

-- Slots that are free, and how many are before us.
local function look(base, limit)
  forget_the_dead(base)
  local ahead = redis.call('ZRANK', base .. ':waiting', id) or redis.call('ZCARD', base .. ':waiting')
  return limit - redis.call('ZCARD', base .. ':held'), ahead
end

local function wait(base)
  local since = arrival
  if since == 0 then
    since = now
  end
  redis.call('ZADD', base .. ':waiting', 'NX', whole(since - priority * 10000000000000), id)
  redis.call('ZADD', base .. ':seen', whole(now), id)
  redis.call('PEXPIRE', base .. ':waiting', 2 * lease)
  redis.call('PEXPIRE', base .. ':seen', 2 * lease)
end

local function wait_no_more(base)
  redis.call('ZREM', base .. ':waiting', id)
  redis.call('ZREM', base .. ':seen', id)
end

local function hold_slot(base)
  wait_no_more(base)
  redis.call('ZADD', base .. ':held', whole(now + lease), id)
  redis.call('PEXPIRE', base .. ':held', 2 * lease)
end

local function take_slot()
  local ours, theirs = KEYS[3], KEYS[2]
  local free, ahead = look(ours, own)
  local free_of_all, ahead_of_all = look(theirs, all)
  if ahead < free and ahead_of_all < free_of_all then
    hold_slot(ours)
    hold_slot(theirs)
    return GRANTED, 0
  end
  local by_user = ahead >= free
  local waiting = redis.call('ZCARD', ours .. ':waiting')
  if queue >= 0 and waiting >= queue and not redis.call('ZSCORE', ours .. ':waiting', id) then
    return by_user and FULL_USER or FULL_TOTAL, by_user and ahead or ahead_of_all
  end
  wait(ours)
  if by_user then
    wait_no_more(theirs)
    return WAITS_USER, ahead
  end
  wait(theirs)
  return WAITS_TOTAL, ahead_of_all
end

local verdict, left, reset, retry = count_request()
local held, tokens_left, tokens_reset, tokens_retry = hold_tokens(verdict == FINE)
if verdict == FINE then
  verdict, retry = held, tokens_retry
end
local slot, ahead, began, open = UNASKED, 0, 0, false
if verdict == FINE and wanted then
  began, open = generation(KEYS[1], run)
  slot = SHUT
  if open then
    slot, ahead = take_slot()
  end
end
return { verdict, left, reset, tokens_left, tokens_reset, retry, slot, ahead, now, began }
