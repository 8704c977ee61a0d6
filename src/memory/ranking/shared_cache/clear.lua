-- Takes out hashes of entries: the one at KEYS[1], or, without a name, those of one step of a walk over all keys.
-- ARGV: cursor, pattern. Returns the next cursor, and how many entries are gone.
local cursor, keys = '0', {KEYS[1]}
if KEYS[1] == '' then
    local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000)
    cursor, keys = found[1], found[2]
end
local entries = 0
for _, key in ipairs(keys) do
    -- One field is the epoch.
    entries = entries + math.max(redis.call('HLEN', key) - 1, 0)
    redis.call('UNLINK', key)
end
return {cursor, entries}
