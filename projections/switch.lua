-- Makes another build of a view the live one.
--
-- KEYS[1] builds      hash    which build is live, which grows, which are dead (see builds.py)
-- ARGV: name, value that live:<name> must have, its new value, prefix of the old build, prefix of the new one,
--       the field that says the old one is dead, the field that says so of the new one, "1" if both must stand at the
--       same entry of the log, the time (ms) from which the old one may be dropped
-- Also touches <prefix>checkpoint (string) of both builds. The old one's goes at once: a projector that still folds into it
-- finds a checkpoint that is not the one it expects, and looks again which build is live.
-- Returns 1, or 0 when nothing was changed.

local name, expected, value, old, new, old_dead, new_dead, level, drop_from = unpack(ARGV)
if redis.call('HGET', KEYS[1], 'live:' .. name) ~= expected then return 0 end
if level == '1' and redis.call('GET', old .. 'checkpoint') ~= redis.call('GET', new .. 'checkpoint') then return 0 end
if redis.call('HGET', KEYS[1], 'next:' .. name) == value then redis.call('HDEL', KEYS[1], 'next:' .. name) end
redis.call('HSET', KEYS[1], 'live:' .. name, value, old_dead, drop_from)
redis.call('HDEL', KEYS[1], new_dead)
redis.call('DEL', old .. 'checkpoint')
return 1
