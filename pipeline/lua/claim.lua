-- Claims connection slots of domains, and some of their waiting messages with them; or more messages for slots already held. Any number of
-- claims in one call, each by itself.
--
-- KEYS[1]  any key of the partition, so that a cluster routes the call (there: claims of one partition)
-- ARGV     messages and octets at most of each claim, octets of all from which on each has one message, how far `now` may be from our clock
--          (ms; 0: any), then for each claim, one after the other:
--            due       key, zset  domains by the time of their next attempt
--            queue     key, zset  the domain's waiting messages by the time from which each may be tried
--            slots     key, zset  fencing tokens by end of lease
--            route     key, hash  until, open, full, good
--            prefix    of the partition's keys: the heads (hash msg:<id>) and hot bodies (string body:<id>) of the messages are read
--            domain, now, end of the lease, retry at, slots allowed when open, token,
--            "new", "more" or "flow" (more, of a domain that was open when this slot claimed last)
--
-- The next attempt is written before this one is made: a domain that was not open is not tried again before `retry at`,
-- whatever becomes of the worker.
-- Returns for each claim {word, open, next, good, id, head, body, id, head, body, ...}; word is one of
--   early   not due, or nothing waits that may be tried now (`next`: when to look again, or empty)
--   full    as many slots as allowed are in use
--   lost    "more" was asked for a slot that is no longer held
--   empty   nothing waits that may be tried now, and the slot that asked for more is given back; or another slot has backed
--           the domain off since this one claimed
--   work    messages follow
-- or {"broken", error}: what is damaged for one domain is no other's trouble. "CLOCK ahead": `now` was too far from our clock.

local WORDS = 12
local call, words = redis.call, ARGV
local most, octets, octets_left, apart = tonumber(words[1]), tonumber(words[2]), tonumber(words[3]), tonumber(words[4])
local time = call('TIME')
local here = time[1] * 1000 + math.floor(time[2] / 1000)

local function claim(position)
  local due, queue, slots, route, prefix, domain, at_ms, lease, retry_at, allowed, token, verb =
    unpack(words, position, position + WORDS - 1)
  local now, limit, held, batch = tonumber(at_ms), tonumber(allowed), verb ~= 'new', most
  if apart > 0 and math.abs(now - here) > apart then return { 'broken', string.format('CLOCK %.0f', now - here) } end

  local state = call('HMGET', route, 'open', 'good', 'until', 'full')
  local open, good, full = state[1] and 1 or 0, state[2] or '0', state[4]
  if not held then
    local at = call('ZSCORE', due, domain)
    if not at or tonumber(at) > now then return { 'early', open, at or '', good } end
  end

  call('ZREMRANGEBYSCORE', slots, '-inf', now)
  if held then
    if not call('ZSCORE', slots, token) then return { 'lost', open, '', good } end
    if verb == 'flow' and open == 0 then
      call('ZREM', slots, token)
      return { 'empty', open, '', good }
    end
  elseif call('ZCARD', slots) >= (open == 1 and limit or 1) then
    local first = call('ZRANGE', slots, 0, 0, 'WITHSCORES')[2]
    call('HSET', route, 'full', 1)
    call('ZADD', due, first, domain)
    return { 'full', open, first, good }
  end

  -- One message opens a route; the others of a domain that may be down are not touched.
  if open == 0 then batch = 1 end
  local ready = call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, batch)
  if batch > 1 and #ready == batch then
    -- There is a backlog: half of what is taken are those that have waited longest, half those that came last, in turn.
    local oldest, taken = ready, {}
    local newest = call('ZREVRANGEBYSCORE', queue, now, '-inf', 'LIMIT', 0, math.floor(batch / 2))
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
    local first = call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2]
    local blocked = tonumber(state[3] or 0)
    if full then call('HDEL', route, 'full') end
    if not first then
      call('ZREM', due, domain)
    else
      call('ZADD', due, math.max(tonumber(first), blocked), domain)
    end
    if held then call('ZREM', slots, token) end
    return { held and 'empty' or 'early', open, first or '', good }
  end

  call('ZADD', slots, lease, token)
  local answer, leased = { 'work', open, '', good }, {}
  local left = math.min(octets, octets_left)
  for index, id in ipairs(ready) do
    local body = call('GET', prefix .. 'body:' .. id)
    local size = body and #body or 0
    if index > 1 and size > left then break end
    left, octets_left = left - size, octets_left - size
    leased[#leased + 1] = lease
    leased[#leased + 1] = id
    answer[#answer + 1] = id
    answer[#answer + 1] = call('HGET', prefix .. 'msg:' .. id, 'm') or ''
    answer[#answer + 1] = body or ''
  end
  call('ZADD', queue, unpack(leased))

  if open == 1 then
    local following = call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2]
    if tonumber(following) <= now and call('ZCARD', slots) >= limit then
      call('HSET', route, 'full', 1)
      following = call('ZRANGE', slots, 0, 0, 'WITHSCORES')[2]
    end
    call('ZADD', due, following, domain)
    answer[3] = following
  else
    call('HSET', route, 'until', retry_at)
    call('ZADD', due, retry_at, domain)
    answer[3] = retry_at
  end
  return answer
end

local answers = {}
for position = 5, #words, WORDS do
  local done, answer = pcall(claim, position)
  answers[#answers + 1] = done and answer or { 'broken', type(answer) == 'table' and answer.err or tostring(answer) }
end
return answers
