-- Stores what projections made of a batch of events, each together with its checkpoint, exactly once.
--
-- KEYS[1]  any key of the partition, so that a cluster routes the call (all keys here share its slot)
-- ARGV     for each view, one after the other:
--            prefix      of the view's keys
--            expected    checkpoint that the view must have; 0: it has seen nothing yet
--            reached     checkpoint afterwards
--            n, then n commands, each: n, then n words; the second word is a key behind the prefix
-- Keys touched, all behind the prefix:
--   checkpoint  string  the last entry of the log that is in the view
--   keys        set     the names of all other keys of the view
--   meta        hash    broken: commands that failed
--   and what the commands name
-- A command is a Redis command, or ADD key field amount [field amount ...], which is HINCRBY and deletes a field at zero:
-- a view has to look the same whether its events came one by one or cancelled out within a batch.
-- The checkpoint is written first: when memory is short Redis refuses that, before anything was changed; afterwards it lets
-- the script finish. A command that fails then (a key of the wrong type in a damaged view) is counted and does not hold up the
-- others: a script has no way back from the middle, and an error raised there would apply the first half again and again.
-- Returns for each view: 1 stored, 0 the checkpoint was another one.

local SHRINKS = { HDEL = true, ZREM = true, DEL = true, LTRIM = true }
local CHUNK = 1000

local results = {}
local position = 1

local function take()
  local value = ARGV[position]
  position = position + 1
  return value
end

local function failed(reply)
  return type(reply) == 'table' and reply.err
end

-- A counter is deleted at zero. Whether that may have left nothing of the key, or the error.
local function add(key, first, last)
  local shrunk = false
  for index = first, last, 2 do
    local sum = redis.pcall('HINCRBY', key, ARGV[index], ARGV[index + 1])
    if failed(sum) then return sum end
    if tonumber(sum) == 0 then
      redis.pcall('HDEL', key, ARGV[index])
      shrunk = true
    end
  end
  return shrunk
end

local function apply(prefix, touched, words)
  local verb, name = ARGV[position], ARGV[position + 1]
  local key, last = prefix .. name, position + words - 1
  local reply, shrinks
  if verb == 'ADD' then
    reply = add(key, position + 2, last)
    shrinks = reply ~= false
  else
    reply = redis.pcall(verb, key, unpack(ARGV, position + 2, last))
    shrinks = SHRINKS[verb] or false
  end
  if failed(reply) then
    redis.pcall('HINCRBY', prefix .. 'meta', 'broken', 1)
    touched.meta = touched.meta or false
  end
  touched[name] = touched[name] or shrinks
end

local function index(prefix, touched)
  local present, gone = {}, {}
  for name, shrunk in pairs(touched) do
    if shrunk and redis.call('EXISTS', prefix .. name) == 0 then
      gone[#gone + 1] = name
    else
      present[#present + 1] = name
    end
  end
  for start = 1, #present, CHUNK do
    redis.pcall('SADD', prefix .. 'keys', unpack(present, start, math.min(start + CHUNK - 1, #present)))
  end
  for start = 1, #gone, CHUNK do
    redis.pcall('SREM', prefix .. 'keys', unpack(gone, start, math.min(start + CHUNK - 1, #gone)))
  end
end

while position <= #ARGV do
  local prefix, expected, reached, commands = take(), take(), take(), tonumber(take())
  local first = (redis.call('GET', prefix .. 'checkpoint') or '0') == expected
  local touched = {}
  if first then redis.call('SET', prefix .. 'checkpoint', reached) end
  for _ = 1, commands do
    local words = tonumber(take())
    if first then apply(prefix, touched, words) end
    position = position + words
  end
  if first then index(prefix, touched) end
  results[#results + 1] = first and 1 or 0
end
return results
