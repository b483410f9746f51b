-- Takes or keeps a right that one process has at a time, for a while.
--
-- KEYS[1]  string  token of who has it. Expires
-- ARGV: token, milliseconds; 0 gives it back
-- Returns 1 when the token has it, 0 when another does (or it was given back).

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  if holder then redis.call('DEL', KEYS[1]) end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
