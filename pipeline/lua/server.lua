-- What all workers, and all domains, share of one server: places for connections, how many there may be just now, and the pace of messages.
--
-- KEYS[1] server  hash    until (ms, not dialled before), why
-- KEYS[2] slots   zset    fencing tokens by end of lease
-- KEYS[3] pace    hash    width (connections that may be open now), most and most_until (what it let us have when it limited us, and until
--                         when (ms) that is remembered), narrowed (ms), next (ms, when the next message may go)
-- ARGV: verb, now, end of the lease, token, connections at most, a number, and how far `now` may be from our clock (ms; 0: any)
--   take     a place. Returns {word, until, why, allowed}: taken; full; or down until a time, with the words that said so
--   renew    a place, for another lease
--   good     it took a message: one more connection may be open. Returns how many
--   limited  it says that we are too many, or too fast: the place is given back, and half as many connections may be open. Its word is
--            remembered for `number` ms. Returns how many others are open
--   admit    a message of `number` a minute. Returns ms until it may go, its turn reserved; negative: so long nobody waits, no turn
-- The first connection opens the server, each message that it takes adds one.
-- Places are taken and renewed by the right time only: the error "CLOCK ahead" says that `now` is too far from our clock.

local verb, now, lease, token = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local most, number = tonumber(ARGV[5]), tonumber(ARGV[6])
local server, slots, pace = KEYS[1], KEYS[2], KEYS[3]
local KEPT, PATIENCE, TOGETHER, MARGIN = 3600000, 2000, 1000, 60000

if verb == 'take' or verb == 'renew' then
  local clock, apart = redis.call('TIME'), tonumber(ARGV[7])
  local ahead = now - clock[1] * 1000 - math.floor(clock[2] / 1000)
  if apart > 0 and math.abs(ahead) > apart then return redis.error_reply(string.format('CLOCK %.0f', ahead)) end
end
if verb == 'renew' then return redis.call('ZADD', slots, 'XX', lease, token) end

local known = redis.call('HMGET', pace, 'width', 'most', 'most_until', 'narrowed', 'next')
local cap = most
if known[2] and tonumber(known[3]) > now then cap = math.min(cap, tonumber(known[2])) end
local width = math.min(cap, tonumber(known[1] or 1))

if verb == 'take' then
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
  -- A lease that ends later than one can was written by a clock that was ahead, and has been put back.
  for _, wrong in ipairs(redis.call('ZRANGEBYSCORE', slots, tonumber(lease) + MARGIN, '+inf', 'LIMIT', 0, 100)) do
    redis.call('ZADD', slots, lease, wrong)
  end
  local state = redis.call('HMGET', server, 'until', 'why')
  if state[1] and tonumber(state[1]) > now then return { 'down', state[1], state[2] or '', width } end
  if redis.call('ZCARD', slots) >= width and not redis.call('ZSCORE', slots, token) then
    return { 'full', redis.call('ZRANGE', slots, 0, 0, 'WITHSCORES')[2], '', width }
  end
  redis.call('ZADD', slots, lease, token)
  redis.call('PEXPIRE', slots, KEPT)
  return { 'taken', '0', '', width }
end

if verb == 'admit' then
  local at = math.max(now, tonumber(known[5] or 0))
  if at - now > PATIENCE + 60000 / number + MARGIN then at = now end
  if at - now > PATIENCE then return now - at end
  redis.call('HSET', pace, 'next', at + 60000 / number)
  redis.call('PEXPIRE', pace, KEPT)
  return at - now
end

if verb == 'good' then
  width = math.min(cap, width + 1)
  redis.call('HSET', pace, 'width', width)
  redis.call('PEXPIRE', pace, KEPT)
  return width
end

redis.call('ZREM', slots, token)
local others = redis.call('ZCOUNT', slots, '(' .. ARGV[2], '+inf')
-- What is said to the only connection is that the server is away; what is said to many at once is one limit, not many.
if others > 0 then
  local learnt = math.min(cap, others)
  if not known[4] or tonumber(known[4]) <= now - TOGETHER then
    learnt = math.max(1, math.min(width - 1, others))
    redis.call('HSET', pace, 'width', math.max(1, math.floor(width / 2)), 'narrowed', now)
  end
  redis.call('HSET', pace, 'most', learnt, 'most_until', now + number)
  redis.call('PEXPIRE', pace, KEPT)
end
return others
