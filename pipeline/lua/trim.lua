-- Takes the oldest entries of a partition's log out of Redis, as far as nobody needs them there: they are sealed in the archive,
-- every view has seen them, and no promised message comes from them. Where the log begins is written down first: from then on
-- they are read from the archive. Whole hours that are gone are also removed from the views that say where in the log something stands.
-- Of the hour in which the log begins these may hold places before its beginning: who reads them passes over those, and
-- projections/cut.lua cuts them off.
--
-- KEYS[1]  archive  hash    last: the last entry that is sealed; floor: where the log begins (ms); trimmed: entries taken out
-- KEYS[2]  log      stream
-- KEYS[3]  builds   hash    live:<view> and next:<view>: "<build> <version>" of what is read, and of what grows to replace it
-- KEYS[4]  outbox   stream
-- And of each of these builds, with the prefix in ARGV[2] .. "<view>:<build>:"
--   checkpoint  string  the last entry of the log that is in it
--   keys        set     names of its other keys; those of an hour begin with h:<hours since 1970>:
-- ARGV: the millisecond that the log is to begin with, at most; prefix of the views; entries to take out in this call, at most;
--       it is to begin at a multiple of so many milliseconds
-- Returns where the log begins now, and how many entries were taken out: as many as asked for means that there may be more.

local HOUR = 3600000
local INDEXES = { 'trace', 'outbound' }
local CHUNK = 1000

local function milliseconds(entry)
  return tonumber(string.match(entry, '^%d+'))
end

-- The millisecond of the first entry that comes behind one: all before it is at or before that one.
local function behind(entry)
  local found = redis.call('XRANGE', KEYS[2], entry == '0' and '-' or '(' .. entry, '+', 'COUNT', 1)
  return found[1] and milliseconds(found[1][1]) or math.huge
end

local state = redis.call('HMGET', KEYS[1], 'last', 'floor')
local floor = tonumber(state[2] or 0)
local builds = redis.call('HGETALL', KEYS[3])
if not state[1] or #builds == 0 then return { floor, 0 } end

-- Before this millisecond there is nothing that somebody still needs here.
local needless = behind(state[1])
local prefixes = {}
for index = 1, #builds, 2 do
  local kind, view = string.match(builds[index], '^(%a+):([^:]+)$')
  if kind == 'live' or kind == 'next' then
    -- A build that nobody can tell has seen nothing: there is none with this number.
    local prefix = ARGV[2] .. view .. ':' .. (string.match(builds[index + 1], '^%d+') or '0') .. ':'
    needless = math.min(needless, behind(redis.call('GET', prefix .. 'checkpoint') or '0'))
    prefixes[#prefixes + 1] = { view, prefix }
  end
end
local promised = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)
if promised[1] then needless = math.min(needless, milliseconds(promised[1][1])) end
local wanted = math.min(tonumber(ARGV[1]), needless)
wanted = wanted - wanted % tonumber(ARGV[4])

local function remove_hours(prefix, before)
  local gone = {}
  for _, key in ipairs(redis.call('SMEMBERS', prefix .. 'keys')) do
    local hour = string.match(key, '^h:(%d+):')
    if hour and tonumber(hour) < before then gone[#gone + 1] = key end
  end
  for start = 1, #gone, CHUNK do
    local last = math.min(start + CHUNK - 1, #gone)
    redis.call('SREM', prefix .. 'keys', unpack(gone, start, last))
    for position = start, last do gone[position] = prefix .. gone[position] end
    redis.call('UNLINK', unpack(gone, start, last))
  end
end

if wanted > floor then
  local hour = math.floor(wanted / HOUR)
  local over = hour > math.floor(floor / HOUR)
  floor = wanted
  redis.call('HSET', KEYS[1], 'floor', string.format('%d', floor))
  for _, build in ipairs(prefixes) do
    for _, name in ipairs(INDEXES) do
      if over and build[1] == name then remove_hours(build[2], hour) end
    end
  end
end

-- After its clock was set back, Redis may have appended below the floor: that is no less needed than any other entry.
local first = string.format('%d', math.min(floor, needless))
local taken = redis.call('XTRIM', KEYS[2], 'MINID', '~', first, 'LIMIT', ARGV[3])
if taken < tonumber(ARGV[3]) / 2 then taken = taken + redis.call('XTRIM', KEYS[2], 'MINID', '=', first) end
if taken > 0 then redis.call('HINCRBY', KEYS[1], 'trimmed', taken) end
return { floor, taken }
