-- Takes or keeps the right to fold a partition's log. It saves two projectors from doing the same work; that nothing counts
-- twice is the checkpoint's business (fold.lua), so a lease that runs out at a bad moment does no harm.
--
-- KEYS[1] lease  string  token of the projector that folds this partition; expires
-- ARGV: token, milliseconds; 0 gives it back
-- Returns 1 when the token holds the lease, 0 when another does (or it was given back).

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  if holder then redis.call('DEL', KEYS[1]) end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
