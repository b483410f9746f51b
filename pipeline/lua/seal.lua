-- Puts a segment at the end of a partition's chain: from here on it is archived. Who writes segments has to hold the lease, and to
-- have started from where the chain ends, so of two archivers at once only one gets this far.
--
-- KEYS[1]  archive  hash    number, seal, first, last of the chain; count and octets of its segments; entries ever sealed
-- KEYS[2]  lease    string  token of the archiver that writes
-- ARGV: token, number and seal that the chain must have, then of the new segment: number, seal, first, last, count, octets
-- Returns 1 done, 0 the chain ends elsewhere, -1 the lease was lost.

if redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
local at = redis.call('HMGET', KEYS[1], 'number', 'seal', 'first')
if (at[1] or '0') ~= ARGV[2] or (at[2] or '') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'number', ARGV[4], 'seal', ARGV[5], 'last', ARGV[7])
if (at[3] or '') == '' then redis.call('HSET', KEYS[1], 'first', ARGV[6]) end
redis.call('HINCRBY', KEYS[1], 'count', ARGV[8])
redis.call('HINCRBY', KEYS[1], 'octets', ARGV[9])
redis.call('HINCRBY', KEYS[1], 'entries', ARGV[8])
return 1
