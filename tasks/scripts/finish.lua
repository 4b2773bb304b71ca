-- ARGV: subject, fence, marks at the start, 1 where the refresh failed, delay ms or -1, window ms.
-- A delay asks for another refresh in any case. Returns 1 where the lease was still held.
local subject, failed = ARGV[1], ARGV[4] == '1'
if not holds(subject, ARGV[2]) then return 0 end
redis.call('ZREM', leases_key, subject)
local took = math.max(0, now - number(subject_key, 'started'))
count('refreshes', 1)
count('refresh_ms', took)
if failed then
  count('failures', 1)
else
  redis.call('ZREM', parked_key, subject)
end

local waiting = redis.call('ZCARD', cold_key) + redis.call('ZCOUNT', due_key, '-inf', now)
-- What one event alone would have taken: a longer window makes a larger batch and so a longer
-- refresh, which must not ask for a longer window again.
local alone = took / (1 + number(subject_key, 'batch') / @BATCH@)
local grown = alone * alone / @SLOWNESS_MS@ + took * waiting * @QUEUE_FACTOR@
local window = math.max(tonumber(ARGV[6]), math.min(grown, @LONGEST_GROWN_WINDOW_MS@))
local free_at = number(subject_key, 'started') + window
if free_at - now > @LONGEST_WINDOW_MS@ then free_at = now end
redis.call('HSET', subject_key, 'free_at', free_at)
redis.call('EXPIRE', statistics_key, @STATISTICS_SECONDS@)

local delay = tonumber(ARGV[5])
if delay >= 0 then
  redis.call('ZADD', due_key, now + delay, subject)
elseif number(subject_key, 'marks') ~= tonumber(ARGV[3]) then
  redis.call('ZADD', due_key, math.max(now, free_at), subject)
end
return 1
