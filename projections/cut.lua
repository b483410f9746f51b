-- Cuts off what keys of index views hold of the time before a log's beginning (see cutting.py), where that is worth copying the rest.
--
-- KEYS[1]  any key of the partition, so that a cluster routes the call (all keys here share its slot)
-- ARGV     prefix of the view's keys; octets of a posting; where in it its place stands (4 octets, which sort as the log does); the place
--          (a number) that the log begins with; names of the keys, behind the prefix
-- Returns how many octets were cut off, and how many of the keys were looked at: when much was copied the others have to wait for another call.

local PLACE = 4
local WORTH = 1024
local MOST = 2097152
local prefix, octets, offset, begin = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function place(key, posting)
  local at = posting * octets + offset
  local a, b, c, d = string.byte(redis.call('GETRANGE', key, at, at + PLACE - 1), 1, PLACE)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

-- How many postings come before the beginning: they stand in the order of the log.
local function before(key, count)
  local low, high = 0, count
  while low < high do
    local middle = math.floor((low + high) / 2)
    if place(key, middle) < begin then low = middle + 1 else high = middle end
  end
  return low
end

local cut, copied = 0, 0
for index = 5, #ARGV do
  local key = prefix .. ARGV[index]
  -- In a damaged view it may be anything.
  local length = redis.pcall('STRLEN', key)
  if type(length) ~= 'number' then length = 0 end
  local count = math.floor(length / octets)
  local gone = before(key, count) * octets
  -- Of what is cut again and again no octet is copied more than some times.
  if gone >= WORTH and gone * 4 >= length then
    if gone == count * octets then
      redis.call('UNLINK', key)
      redis.call('SREM', prefix .. 'keys', ARGV[index])
    else
      redis.call('SET', key, redis.call('GETRANGE', key, gone, -1))
      copied = copied + length - gone
    end
    cut = cut + gone
  end
  if copied >= MOST then return { cut, index - 4 } end
end
return { cut, #ARGV - 4 }
