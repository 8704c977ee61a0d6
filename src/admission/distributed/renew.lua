-- A gateway lives, and holds this. What Redis does not know any more is entered anew, over the limit if need be: it runs.
--
-- KEYS  the generation; all slots
-- ARGV  gateway, run id, latest time, ms of a lease, | this is all (0, 1), gateways it knows of, ms a generation is closed at least
--       | 'slot', the user's slots, id | 'tokens', the user, id, tokens held | …
-- Answers whether it was in time, when the generation began, whether it is open, how many were entered anew.

local gateway, run, latest, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if now > latest then
  return { 0, 0, 0, 0, now }
end

local function renew(key, member)
  local new = redis.call('ZADD', key, whole(now + lease), member)
  redis.call('PEXPIRE', key, 2 * lease)
  return new
end

local began, open = generation(KEYS[1], run)
local anew, i = 0, 8
while ARGV[i] do
  if ARGV[i] == 'slot' then
    anew = anew + renew(ARGV[i + 1] .. ':held', ARGV[i + 2])
    renew(KEYS[2] .. ':held', ARGV[i + 2])
    i = i + 3
  else
    if renew(ARGV[i + 1] .. ':holds', ARGV[i + 2] .. ' ' .. ARGV[i + 3]) == 1 then
      redis.call('HINCRBY', ARGV[i + 1] .. ':tokens', 'held', ARGV[i + 3])
    end
    i = i + 4
  end
end
if ARGV[5] == '1' then
  local is = redis.call('HMGET', KEYS[1], 'claimed', 'least')
  redis.call('SADD', KEYS[1] .. ':here', gateway)
  redis.call('HSET', KEYS[1], 'claimed', math.max(tonumber(is[1] or 0), tonumber(ARGV[6])))
  redis.call('HSET', KEYS[1], 'least', math.max(tonumber(is[2] or 0), tonumber(ARGV[7])))
  began, open = generation(KEYS[1], run)
end
return { 1, began, open and 1 or 0, anew, now }
