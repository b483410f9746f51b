-- Messages whose time to wait for an engine is over go back to the scanners. All of it happens, or nothing.
--
-- KEYS[1]  zset    messages of a partition that wait for an engine, by when they are scanned again
-- KEYS[2]  stream  work for the scanners of that partition
-- ARGV     now (ms), how many at most
-- Returns how many went.

local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  redis.call('XADD', KEYS[2], '*', 'id', id)
  redis.call('ZREM', KEYS[1], id)
end
return #due
