-- Whether something may be done now that is bounded per hour in several ways at once. All of them count, or none does.
--
-- KEYS     string  for each bound the moment (us) from which its bucket is full again; gone when it is
-- ARGV     now (us), the time in which a bucket fills up (us), then for each key its size (0: no bound)
-- Returns 1, and one token is taken from each bucket; or 0, and nothing is taken, because one of them is empty.

local now, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local later = {}

for index = 1, #ARGV - 2 do
  local key, size = KEYS[index], tonumber(ARGV[index + 2])
  if size > 0 then
    local full = math.max(now, tonumber(redis.call('GET', key) or 0)) + period / size
    if full > now + period + 1 then return 0 end
    later[key] = full
  end
end
for key, full in pairs(later) do
  redis.call('SET', key, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 60000)
end
return 1
