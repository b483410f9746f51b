-- Hands out what clients may do, and takes back what was not used. Any number of clients in one call, each judged by itself.
--
-- KEYS[1]  tokens of the first client, so that a cluster routes the call (there: one client per call)
-- For each client, behind the prefix that is in ARGV:
--   tokens  hash    number of the bucket -> the moment (us) from which it is full again. A bucket that is not there is full
--   slots   hash    receiver -> "connections until": how many it holds, and the end of its lease (ms)
--   good    string  there while the client is known for good mail
-- ARGV     now (us), how far that may be from our clock (ms; 0: any), lease (ms), receiver, share, connections allowed at once (0: any
--          number), how long good mail is remembered (ms; 0: it is not), slack (ms), number of buckets, then for each bucket:
--            size   tokens that it holds, 0: no limit
--            cost   us until a token that was taken is there again
--          then for each client, one after the other:
--            prefix
--            held     connections that the receiver holds from now on
--            more     connections that it needs besides
--            ahead    1: tokens of messages and recipients (buckets 2, 3) will be needed next
--            mark     1: the client has delivered good mail
--            then for each bucket: tokens that it gives back
--            then for each bucket: tokens that it needs
--
-- Who needs something gets what there is, at most what it needs or a share of what is left, whichever is more; so a limit
-- that is nearly used up is given out one by one, and nothing is given out twice.
-- Returns for each client: for each bucket the tokens given, for each bucket how long (us) until the next one is there (0:
-- there is one), connections given, connections left, how much longer (ms) it is known for good mail (0: it is not).
-- The error "CLOCK ahead": `now` is too far from our clock, and other receivers' leases are not judged by it.

local now, apart, lease, receiver, share = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local allowed, remember, slack, buckets = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local now_ms = math.floor(now / 1000)
local clock = redis.call('TIME')
local ahead = now_ms - clock[1] * 1000 - math.floor(clock[2] / 1000)
if apart > 0 and math.abs(ahead) > apart then return redis.error_reply(string.format('CLOCK %.0f', ahead)) end

local names, sizes, costs = {}, {}, {}
for bucket = 1, buckets do
  names[bucket] = tostring(bucket)
  sizes[bucket], costs[bucket] = tonumber(ARGV[8 + 2 * bucket]), tonumber(ARGV[9 + 2 * bucket])
end
local position = 9 + 2 * buckets
local results = {}

local function take()
  position = position + 1
  return ARGV[position]
end

local function portion(free, needed)
  return math.max(0, math.min(free, math.max(needed, math.floor(free / share))))
end

-- The connections of this receiver are what it says they are: a call whose reply was lost is mended by the next one.
local function connections(key, held, more)
  if allowed == 0 then return 0, 0 end
  local others, mine, mine_until = 0, 0, 0
  local rows = redis.call('HGETALL', key)
  for index = 1, #rows, 2 do
    local count, ends = string.match(rows[index + 1], '^(%d+) (%d+)$')
    if rows[index] == receiver then
      mine, mine_until = tonumber(count), tonumber(ends)
    elseif tonumber(ends) > now_ms then
      others = others + tonumber(count)
    else
      redis.call('HDEL', key, rows[index])
    end
  end
  local free = math.max(0, allowed - others - held)
  local given = more > 0 and portion(free, more) or 0
  local total = held + given
  if total == 0 then
    if mine > 0 then redis.call('HDEL', key, receiver) end
  elseif total ~= mine or mine_until < now_ms + lease * 2 / 3 then
    redis.call('HSET', key, receiver, string.format('%.0f %.0f', total, now_ms + lease))
    redis.call('PEXPIRE', key, lease)
  end
  return given, free - given
end

while position < #ARGV do
  local prefix, held, more = take(), tonumber(take()), tonumber(take())
  local ahead, mark = take() == '1', take() == '1'
  local given, left = connections(prefix .. 'slots', held, more)
  -- Who may not come in needs no token for it.
  local missing = allowed > 0 and math.max(0, more - given) or 0

  local tokens = prefix .. 'tokens'
  local full = redis.call('HMGET', tokens, unpack(names))
  local changes, latest, base = {}, now, #results
  for bucket = 1, buckets do
    local size, cost = sizes[bucket], costs[bucket]
    local back, needed = tonumber(ARGV[position + bucket]), tonumber(ARGV[position + buckets + bucket])
    local granted, wait = 0, 0
    if bucket == 1 then needed = math.max(0, needed - missing) end
    if size > 0 then
      local at = tonumber(full[bucket] or 0)
      -- That far ahead only a clock that was wrong could put it; to believe it would close the client out for as long.
      if at > now + 2 * size * cost then at = now end
      local before = at
      at = math.max(at - back * cost, now)
      local free = math.max(0, math.floor((now + size * cost - at) / cost))
      if needed > 0 or (ahead and (bucket == 2 or bucket == 3)) then granted = portion(free, needed) end
      at = at + granted * cost
      if granted == free then wait = math.max(1, at - (size - 1) * cost - now) end
      if granted > 0 or (back > 0 and before > now) then
        changes[#changes + 1] = names[bucket]
        changes[#changes + 1] = string.format('%.0f', at)
      end
      latest = math.max(latest, at)
    end
    results[base + bucket], results[base + buckets + bucket] = granted, wait
  end
  position = position + 2 * buckets
  if #changes > 0 then
    redis.call('HSET', tokens, unpack(changes))
    redis.call('PEXPIRE', tokens, string.format('%.0f', math.ceil((latest - now) / 1000) + slack))
  end

  local good = 0
  if mark and remember > 0 then
    redis.call('SET', prefix .. 'good', '1', 'PX', remember)
    good = remember
  elseif remember > 0 then
    good = math.max(0, redis.call('PTTL', prefix .. 'good'))
  end
  results[#results + 1] = given
  results[#results + 1] = left
  results[#results + 1] = good
end
return results
