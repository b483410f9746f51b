-- Keeps, returns or takes what a worker holds of a domain's queue.
--
-- KEYS[1] due    zset    domains by the time of their next attempt
-- KEYS[2] queue  zset    the domain's waiting messages
-- KEYS[3] slots  zset    fencing tokens by end of lease
-- KEYS[4] route  hash    until, full
-- ARGV: verb, domain, now, time, token, channel, how far `now` may be from our clock (ms; 0: any), then message ids
--   renew    extends the slot and its messages to `time`; 0 when the slot was lost
--   release  gives the slot back, makes its messages free at `time`, and the domain due if something waits
--   untried  as release, of a slot that was taken and not used: the claim's word on the next attempt is taken back
--   take     takes one message out of reach of the deliverers until `time`; 0 when one of them has it in hand. Behind its
--            id: the time of its own next attempt; with that as score it is in nobody's hands
-- Returns 1 or 0; the error "CLOCK ahead" when `now` is too far from our clock.

local due, queue, slots, route = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local verb, domain, now, time, token, channel, apart = unpack(ARGV, 1, 7)

if apart ~= '0' then
  local clock = redis.call('TIME')
  local ahead = now - clock[1] * 1000 - math.floor(clock[2] / 1000)
  if math.abs(ahead) > tonumber(apart) then return redis.error_reply(string.format('CLOCK %.0f', ahead)) end
end

if verb == 'take' then
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
  local at = redis.call('ZSCORE', queue, ARGV[8])
  if not at then return 1 end
  if redis.call('ZCARD', slots) > 0 and tonumber(at) > tonumber(now) and tonumber(at) ~= tonumber(ARGV[9]) then
    return 0
  end
  redis.call('ZADD', queue, time, ARGV[8])
  return 1
end

if not redis.call('ZSCORE', slots, token) then return 0 end
for index = 8, #ARGV do
  redis.call('ZADD', queue, 'XX', time, ARGV[index])
end
if verb == 'renew' then
  redis.call('ZADD', slots, 'XX', time, token)
  return 1
end

redis.call('ZREM', slots, token)
redis.call('HDEL', route, 'full')
if verb == 'untried' then redis.call('HDEL', route, 'until') end
local blocked = tonumber(redis.call('HGET', route, 'until') or 0)
local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2]
if not first then
  redis.call('ZREM', due, domain)
elseif blocked > tonumber(now) then
  redis.call('ZADD', due, math.max(blocked, tonumber(first)), domain)
else
  redis.call('ZADD', due, first, domain)
  if tonumber(first) <= tonumber(now) then redis.call('PUBLISH', channel, domain) end
end
return 1
