-- Whether a suspicious client may send now, or has to come again.
--
-- KEYS[1] client  hash    greylisted attempts of one client: digest -> when it was first seen (ms)
-- KEYS[2] passed  string  the client came back once for this domain: it is not asked again. Expires
-- ARGV: now (ms), digest of the attempt, delay, window, memory (ms each), attempts remembered of a client at most
-- Returns {1, first} it may send, first seen at `first` (0: it was let in before); {0, first} it has to come again.

local now, digest = tonumber(ARGV[1]), ARGV[2]
local delay, window, memory = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('PEXPIRE', KEYS[2], memory)
  return { 1, 0 }
end
local first = tonumber(redis.call('HGET', KEYS[1], digest) or 0)
if first > 0 and now - first <= window then
  if now - first < delay then return { 0, first } end
  redis.call('HDEL', KEYS[1], digest)
  redis.call('SET', KEYS[2], 1, 'PX', memory)
  return { 1, first }
end
-- A client that tries more than can be remembered is let in for none of it until the oldest are forgotten with all others.
if first > 0 or redis.call('HLEN', KEYS[1]) < tonumber(ARGV[6]) then
  redis.call('HSET', KEYS[1], digest, now)
  redis.call('PEXPIRE', KEYS[1], window)
end
return { 0, now }
