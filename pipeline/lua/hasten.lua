-- Makes waiting messages free that are to be tried at a time of their own. A portion in each call: a domain may have a million of them.
--
-- KEYS[1] queue  zset  the domain's waiting messages by the time from which each may be tried
-- ARGV: a time that no lease ends after, the time that is written instead, messages at most (1,000 or fewer)
--
-- What is in a worker's hands has the end of its lease as score, and keeps it.
-- Returns how many were made free: as many as asked for means that there may be more.

local words = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[3])) do
  words[#words + 1] = ARGV[2]
  words[#words + 1] = id
end
if #words > 0 then redis.call('ZADD', KEYS[1], unpack(words)) end
return #words / 2
