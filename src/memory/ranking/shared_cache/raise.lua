-- Moves a user's hash to an epoch, if it is not beyond it, and puts an entry of that epoch in.
-- KEYS[1]: the hash; ARGV: epoch, milliseconds to live, entries that it may have, [question, entry].

-- Leases and limits are in the same memory. They must always find room, and a cache need not.
local function is_roomy()
    local info = redis.pcall('INFO', 'memory')
    if type(info) ~= 'string' then
        return true
    end
    local used, most = info:match('used_memory:(%d+)'), tonumber(info:match('maxmemory:(%d+)') or '0')
    return most == 0 or tonumber(used) < 0.8 * most
end

local epoch = tonumber(ARGV[1])
local known = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '-1')
if known > epoch or ARGV[4] and not is_roomy() then
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
