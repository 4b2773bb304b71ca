-- Shared by the coalescing scripts; the constants between @ signs come from tasks/coalescer.py.
-- KEYS of every script: due, cold, leases, queued, parked, statistics and, where one subject is
-- meant, the subject's own hash.
local due_key, cold_key, leases_key, queued_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local parked_key, statistics_key, subject_key = KEYS[5], KEYS[6], KEYS[7]

-- Only this clock counts: workers' clocks differ and jump.
local now_parts = redis.call('TIME')
local now_us = now_parts[1] * 1000000 + now_parts[2]
local now = math.floor(now_us / 1000)

-- A time further ahead than `longest` counts as now: an older state was restored, or the clock was
-- set back.
local function ahead(time, longest)
  return time > now and time - now <= longest
end

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

local function score(key, subject)
  return tonumber(redis.call('ZSCORE', key, subject) or '0')
end

local function is_leased(subject)
  return ahead(score(leases_key, subject), @LEASE_MS@)
end

local function is_parked(subject)
  return ahead(score(parked_key, subject), @LONGEST_PARK_MS@)
end

-- Refreshed a moment ago: such a subject waits among the due ones, any other in the cold lane.
local function is_warm(key)
  local started = number(key, 'started')
  return started <= now and now - started <= @WARM_MS@
end

-- How many subjects may be enqueued yet.
local function room()
  redis.call('ZREMRANGEBYSCORE', queued_key, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', queued_key, now + @LEASE_MS@ + 1, '+inf')
  return @QUEUED@ - redis.call('ZCARD', queued_key)
end

local function holds(subject, fence)
  return redis.call('HGET', subject_key, 'fence') == fence
    and redis.call('ZSCORE', leases_key, subject) ~= false
end

-- A fence is never used again, also after everything was lost: it is not below the time in µs.
local function lease(key, subject)
  local fence = math.max(number(key, 'fence') + 1, now_us)
  local text = string.format('%.0f', fence)
  redis.call('HSET', key, 'fence', text)
  redis.call('EXPIRE', key, @SUBJECT_SECONDS@)
  redis.call('ZADD', leases_key, now + @LEASE_MS@, subject)
  redis.call('ZADD', queued_key, now + @LEASE_MS@, subject)
  redis.call('ZREM', due_key, subject)
  redis.call('ZREM', cold_key, subject)
  return text
end

-- Into the lane where it belongs, at its end.
local function wait_for_turn(key, subject)
  if is_warm(key) then
    redis.call('ZADD', due_key, 'NX', now, subject)
  else
    redis.call('ZADD', cold_key, 'NX', now, subject)
  end
end

local function count(field, by)
  redis.call('HINCRBY', statistics_key, field, by)
end
