-- Brings back what is scheduled for a time that nothing is ever scheduled for: the clock that wrote it was ahead, and was put back.
--
-- KEYS[1] due  zset  domains by the time of their next attempt
-- Also changes route (hash route:<d>), queue (zset queue:<d>) and slots (zset slots:<d>) of the domains, whose prefix is in ARGV.
-- ARGV: now, how far that may be from our clock (ms; 0: any), the latest time that may be, the time that is written instead, messages at most,
--       prefix, then domains
--
-- What is in a worker's hands looks the same. So what is written is the end of a lease that begins now: who lives renews it.
-- Returns how many times were changed; the error "CLOCK ahead" when `now` is too far from our clock: by that one all leases may look wrong.

local now, apart, latest, instead, most, prefix = unpack(ARGV, 1, 6)
local clock = redis.call('TIME')
local ahead = now - clock[1] * 1000 - math.floor(clock[2] / 1000)
if apart ~= '0' and math.abs(ahead) > tonumber(apart) then return redis.error_reply(string.format('CLOCK %.0f', ahead)) end

local changed = 0
for index = 7, #ARGV do
  local domain = ARGV[index]
  local moved = 0
  for _, what in ipairs({ 'queue:', 'slots:' }) do
    local key = prefix .. what .. domain
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. latest, '+inf', 'LIMIT', 0, most)) do
      redis.call('ZADD', key, 'XX', instead, member)
      moved = moved + 1
    end
  end
  local route = prefix .. 'route:' .. domain
  local blocked = tonumber(redis.call('HGET', route, 'until') or 0)
  if blocked > tonumber(latest) then
    redis.call('HSET', route, 'until', instead)
    moved = moved + 1
  end
  local at = redis.call('ZSCORE', KEYS[1], domain)
  if at and (moved > 0 or tonumber(at) > tonumber(latest)) and tonumber(at) > tonumber(instead) then
    redis.call('ZADD', KEYS[1], 'XX', instead, domain)
    moved = moved + 1
  end
  changed = changed + moved
end
return changed
