-- The one place that appends to a log. Takes any number of steps; each is judged by itself and happens whole or not at all.
--
-- KEYS[1]  any key of the partition, so that a cluster routes the call (all keys of a step share its slot)
-- ARGV     for each step, one after the other:
--            head        key, hash    v version, m the subject's state
--            log         key, stream  the log of record of the partition (or of the directory)
--            subject     what the events speak of
--            expected    version that the head must have; 0: there is no head
--            state       new value of m; empty: the subject is finished, its head goes
--            fence       key, zset    slots of a domain, or empty
--            token       member that must be in the fence: a worker that lost its lease cannot commit. `!`: the fence is a string
--                        instead that must not be there yet, and then it is a conflict: what is done once was done
--            body        key, string  the hot body of a message that is finished; empty: there is none
--            n, then n events
--            n, then n effects, each: n, then n words
-- An effect is one Redis command on a key of the same slot (see steps.py for the few that there are), or
--   DUE due route domain at channel   zset, hash: makes the domain due at `at` unless it is backing off or all its slots are
--                                     in use; publishes on `channel` (if not empty) when that is news: names, with blanks between
--   FREE due queue slots route domain token now channel   a domain's slot is given back, if it is held still, and the domain is due
--                                     when the next of its messages is; news when that is now
--   SPEAK channel word                publishes
-- Returns the server's time in ms, then for each step: 1 done, 2 done and the body was not hot (it is in the cold store),
-- 0 conflict (the head has another version), -1 the fence no longer holds the token.

local call, words = redis.call, ARGV
local time = call('TIME')
local results = { time[1] * 1000 + math.floor(time[2] / 1000) }
local news = {}

local function tell(channel, domain)
  news[channel] = news[channel] and news[channel] .. ' ' .. domain or domain
end

local function make_due(due, route, domain, at, channel)
  local state = call('HMGET', route, 'until', 'full')
  local blocked_until = state[1] and tonumber(state[1])
  if blocked_until and blocked_until > tonumber(at) then
    call('ZADD', due, 'NX', state[1], domain)
  elseif state[2] then
    call('ZADD', due, 'NX', at, domain)
  elseif call('ZADD', due, 'LT', 'CH', at, domain) == 1 and channel ~= '' then
    tell(channel, domain)
  end
end

local function free(due, queue, slots, route, domain, token, now, channel)
  if call('ZREM', slots, token) == 0 then return end
  local state = call('HMGET', route, 'until', 'full')
  if state[2] then call('HDEL', route, 'full') end
  local first, blocked_until = call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2], tonumber(state[1] or 0)
  if not first then
    call('ZREM', due, domain)
  elseif blocked_until > tonumber(now) then
    call('ZADD', due, math.max(blocked_until, tonumber(first)), domain)
  else
    call('ZADD', due, first, domain)
    if tonumber(first) <= tonumber(now) then tell(channel, domain) end
  end
end

local position, size = 1, #words
while position <= size do
  local head, log, subject, expected, state, fence, token, body, count = unpack(words, position, position + 8)
  local version, first, result = tonumber(expected), position + 9, 1
  if (call('HGET', head, 'v') or '0') ~= expected then
    result = 0
  elseif token == '!' then
    if call('EXISTS', fence) == 1 then result = 0 end
  elseif fence ~= '' and not call('ZSCORE', fence, token) then
    result = -1
  end

  position = first + count
  if result == 1 then
    for index = first, position - 1 do
      version = version + 1
      call('XADD', log, '*', 's', subject, 'v', version, 'e', words[index])
    end
    if state ~= '' then
      call('HSET', head, 'v', version, 'm', state)
    elseif body == '' then
      call('DEL', head)
    elseif call('DEL', head, body) == (expected == '0' and 0 or 1) then
      result = 2
    end
  end

  local effects = words[position]
  position = position + 1
  for _ = 1, effects do
    local last = position + words[position]
    if result > 0 then
      local verb = words[position + 1]
      if verb == 'DUE' then
        make_due(unpack(words, position + 2, last))
      elseif verb == 'FREE' then
        free(unpack(words, position + 2, last))
      elseif verb == 'SPEAK' then
        call('PUBLISH', words[position + 2], words[last])
      else
        call(unpack(words, position + 1, last))
      end
    end
    position = last + 1
  end
  results[#results + 1] = result
end
for channel, domains in pairs(news) do call('PUBLISH', channel, domains) end
return results
