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
--            n, then n events
--            n, then n effects, each: n, then n words
-- An effect is one Redis command on a key of the same slot (see steps.py for the few that there are), or
--   DUE due route domain at channel   zset, hash: makes the domain due at `at` unless it is backing off or all its slots are
--                                     in use; publishes on `channel` (if not empty) when that is news
--   DROP body                         string: deletes the body
--   SPEAK channel word                publishes
-- Returns the server's time in ms, then for each step: 1 done, 2 done and the body was not hot (it is in the cold store),
-- 0 conflict (the head has another version), -1 the fence no longer holds the token.

local time = redis.call('TIME')
local results = { time[1] * 1000 + math.floor(time[2] / 1000) }
local position = 1

local function take()
  local value = ARGV[position]
  position = position + 1
  return value
end

local function make_due(due, route, domain, at, channel)
  local state = redis.call('HMGET', route, 'until', 'full')
  local blocked_until = state[1] and tonumber(state[1])
  if blocked_until and blocked_until > tonumber(at) then
    redis.call('ZADD', due, 'NX', state[1], domain)
  elseif state[2] then
    redis.call('ZADD', due, 'NX', at, domain)
  elseif redis.call('ZADD', due, 'LT', 'CH', at, domain) == 1 and channel ~= '' then
    redis.call('PUBLISH', channel, domain)
  end
end

while position <= #ARGV do
  local head, log, subject = take(), take(), take()
  local expected, state = tonumber(take()), take()
  local fence, token = take(), take()
  local result = 1
  if tonumber(redis.call('HGET', head, 'v') or 0) ~= expected then
    result = 0
  elseif token == '!' then
    if redis.call('EXISTS', fence) == 1 then result = 0 end
  elseif fence ~= '' and not redis.call('ZSCORE', fence, token) then
    result = -1
  end

  local events = tonumber(take())
  if result == 1 then
    for index = 0, events - 1 do
      redis.call('XADD', log, '*', 's', subject, 'v', expected + index + 1, 'e', ARGV[position + index])
    end
    if state == '' then
      redis.call('DEL', head)
    else
      redis.call('HSET', head, 'v', expected + events, 'm', state)
    end
  end
  position = position + events

  for _ = 1, tonumber(take()) do
    local words = tonumber(take())
    if result > 0 then
      local verb = ARGV[position]
      if verb == 'DUE' then
        make_due(unpack(ARGV, position + 1, position + 5))
      elseif verb == 'DROP' then
        if redis.call('DEL', ARGV[position + 1]) == 0 then result = 2 end
      elseif verb == 'SPEAK' then
        redis.call('PUBLISH', ARGV[position + 1], ARGV[position + 2])
      else
        redis.call(unpack(ARGV, position, position + words - 1))
      end
    end
    position = position + words
  end
  results[#results + 1] = result
end
return results
