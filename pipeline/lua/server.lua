-- A connection slot at one server, shared by all workers and by all domains that use the server.
--
-- KEYS[1] server  hash    until (ms, not dialled before), why
-- KEYS[2] slots   zset    fencing tokens by end of lease
-- ARGV: now, end of the lease, token, slots allowed
-- Returns {word, until, why}: taken; full; or down until a time, with the words that said so.

local now = tonumber(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local state = redis.call('HMGET', KEYS[1], 'until', 'why')
if state[1] and tonumber(state[1]) > now then return { 'down', state[1], state[2] or '' } end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) and not redis.call('ZSCORE', KEYS[2], ARGV[3]) then
  return { 'full', redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2], '' }
end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], 3600000)
return { 'taken', '0', '' }
