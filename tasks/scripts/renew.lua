-- ARGV: subject, fence. Returns 1 where the lease is still held.
if not holds(ARGV[1], ARGV[2]) then return 0 end
redis.call('ZADD', leases_key, 'XX', now + @LEASE_MS@, ARGV[1])
return 1
