-- Moves a user's hash to an epoch, if it is not beyond it, and puts an entry of that epoch in.
-- KEYS[1]: the hash; ARGV: epoch, milliseconds to live, entries that it may have, [question, entry].
local epoch = tonumber(ARGV[1])
local known = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '-1')
if known > epoch then
    return 0
end
if known < epoch or redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) then
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if ARGV[4] then
    redis.call('HSET', KEYS[1], ARGV[4], ARGV[5])
end
return 1
