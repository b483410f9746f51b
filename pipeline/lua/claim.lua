-- Claims a connection slot of a domain, and some of its waiting messages with it; or more messages for a slot already held.
--
-- KEYS[1] due    zset    domains by the time of their next attempt
-- KEYS[2] queue  zset    the domain's waiting messages by the time from which each may be tried
-- KEYS[3] slots  zset    fencing tokens by end of lease
-- KEYS[4] route  hash    until, open, full, good
-- Also reads the heads (hash msg:<id>) and hot bodies (string body:<id>) of the messages, whose prefix is in ARGV.
-- ARGV: domain, now, end of the lease, retry at, slots allowed when open, messages at most, octets at most, token,
--       "new", "more" or "flow" (more, of a domain that was open when this slot claimed last), prefix of the partition's keys
--
-- The next attempt is written before this one is made: a domain that was not open is not tried again before `retry at`,
-- whatever becomes of the worker.
-- Returns {word, open, next, good, id, head, body, id, head, body, ...}; word is one of
--   early   not due, or nothing waits that may be tried now (`next`: when to look again, or empty)
--   full    as many slots as allowed are in use
--   lost    "more" was asked for a slot that is no longer held
--   empty   nothing waits that may be tried now, and the slot that asked for more is given back; or another slot has backed
--           the domain off since this one claimed
--   work    messages follow

local due, queue, slots, route = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local domain, now, lease, retry_at = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local limit, batch, octets, token = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local held, prefix = ARGV[9] ~= 'new', ARGV[10]

redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
local state = redis.call('HMGET', route, 'open', 'good')
local open, good = state[1] and 1 or 0, state[2] or '0'

if held then
  if not redis.call('ZSCORE', slots, token) then return { 'lost', open, '', good } end
  if ARGV[9] == 'flow' and open == 0 then
    redis.call('ZREM', slots, token)
    return { 'empty', open, '', good }
  end
else
  local at = redis.call('ZSCORE', due, domain)
  if not at then return { 'early', open, '', good } end
  if tonumber(at) > now then return { 'early', open, at, good } end
  if redis.call('ZCARD', slots) >= (open == 1 and limit or 1) then
    local first = redis.call('ZRANGE', slots, 0, 0, 'WITHSCORES')[2]
    redis.call('HSET', route, 'full', 1)
    redis.call('ZADD', due, first, domain)
    return { 'full', open, first, good }
  end
end

-- One message opens a route; the others of a domain that may be down are not touched.
if open == 0 then batch = 1 end
local ready = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, batch)
if batch > 1 and #ready == batch then
  -- There is a backlog: half of what is taken are those that have waited longest, half those that came last, in turn.
  local oldest, taken = ready, {}
  local newest = redis.call('ZREVRANGEBYSCORE', queue, now, '-inf', 'LIMIT', 0, math.floor(batch / 2))
  ready = {}
  for index = 1, batch do
    for _, id in ipairs({ oldest[index], newest[index] or oldest[index] }) do
      if #ready < batch and not taken[id] then
        taken[id] = true
        ready[#ready + 1] = id
      end
    end
  end
end
if #ready == 0 then
  local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2]
  local blocked = tonumber(redis.call('HGET', route, 'until') or 0)
  redis.call('HDEL', route, 'full')
  if not first then
    redis.call('ZREM', due, domain)
  else
    redis.call('ZADD', due, math.max(tonumber(first), blocked), domain)
  end
  if held then redis.call('ZREM', slots, token) end
  return { held and 'empty' or 'early', open, first or '', good }
end

redis.call('ZADD', slots, lease, token)
local answer = { 'work', open, '', good }
local taken = 0
for index, id in ipairs(ready) do
  local body = redis.call('GET', prefix .. 'body:' .. id)
  taken = taken + (body and #body or 0)
  if index > 1 and taken > octets then break end
  redis.call('ZADD', queue, lease, id)
  answer[#answer + 1] = id
  answer[#answer + 1] = redis.call('HGET', prefix .. 'msg:' .. id, 'm') or ''
  answer[#answer + 1] = body or ''
end

if open == 1 then
  local following = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2]
  if tonumber(following) <= now and redis.call('ZCARD', slots) >= limit then
    redis.call('HSET', route, 'full', 1)
    following = redis.call('ZRANGE', slots, 0, 0, 'WITHSCORES')[2]
  end
  redis.call('ZADD', due, following, domain)
  answer[3] = following
else
  redis.call('HSET', route, 'until', retry_at)
  redis.call('ZADD', due, retry_at, domain)
  answer[3] = retry_at
end
return answer
