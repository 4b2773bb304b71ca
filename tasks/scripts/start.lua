-- ARGV: subject, fence, window ms. Returns the marks seen at the start, or -1 where the fence is
-- stale.
local subject = ARGV[1]
if redis.call('HGET', subject_key, 'fence') ~= ARGV[2] then return -1 end
redis.call('ZADD', leases_key, now + @LEASE_MS@, subject)
redis.call('ZREM', due_key, subject)
redis.call('ZREM', cold_key, subject)
redis.call('ZREM', queued_key, subject)
redis.call('HSET', subject_key, 'started', now, 'free_at', now + tonumber(ARGV[3]))
redis.call('EXPIRE', subject_key, @SUBJECT_SECONDS@)

local marks = number(subject_key, 'marks')
local asked_at = number(subject_key, 'asked_at')
if asked_at > 0 and asked_at <= now then
  local delay, bucket = now - asked_at, 'inf'
  for _, bound in ipairs({@DELAY_BOUNDS_MS@}) do
    if delay <= bound then
      bucket = bound
      break
    end
  end
  count('delay:' .. bucket, 1)
  count('delay_ms', delay)
end
redis.call('HDEL', subject_key, 'asked_at')
local batch = math.max(0, marks - number(subject_key, 'answered'))
count('marks', batch)
redis.call('HSET', subject_key, 'answered', marks, 'batch', batch)
return marks
