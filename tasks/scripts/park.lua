-- ARGV: subject, for how many ms (0: no longer).
-- Whoever holds the lease has lost it: its finish changes nothing.
local subject, pause = ARGV[1], tonumber(ARGV[2])
redis.call('ZREM', leases_key, subject)
redis.call('ZREM', queued_key, subject)
redis.call('ZREM', due_key, subject)
redis.call('ZREM', cold_key, subject)
redis.call('ZREMRANGEBYSCORE', parked_key, '-inf', now)
if pause > 0 then
  redis.call('ZADD', parked_key, now + pause, subject)
else
  redis.call('ZREM', parked_key, subject)
end
return 1
