-- How much of a partition's mail could move on at once, and does not yet. Only reads.
--
-- KEYS[1] scan  stream  what is still to be scanned, or is just being scanned
-- KEYS[2] due   zset    domains by the time of their next attempt
-- Also reads routes (hash route:<d>) and queues (zset queue:<d>), whose prefix is in ARGV.
-- ARGV: now, the end of a lease that begins now, domains to look at at most, prefix of the partition's keys
--
-- A domain whose server is away does not count: its mail waits for that server, not for us.
-- Returns {messages to be scanned, messages that could leave now}.

local now, prefix = ARGV[1], ARGV[4]
local sending = 0
-- A domain all of whose slots are in use is due when the first of their leases ends.
for _, domain in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])) do
  if redis.call('HEXISTS', prefix .. 'route:' .. domain, 'open') == 1 then
    sending = sending + redis.call('ZCOUNT', prefix .. 'queue:' .. domain, '-inf', now)
  end
end
return { redis.call('XLEN', KEYS[1]), sending }
