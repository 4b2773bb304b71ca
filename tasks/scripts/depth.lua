-- Returns [waiting for their time, due, cold, leased, enqueued, parked, age in ms of the longest
-- waiting due one, of the longest waiting cold one, statistics (field, value, …)].
local function age(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and math.max(0, now - tonumber(first[2])) or 0
end
local due = redis.call('ZCOUNT', due_key, '-inf', now)
return {
  redis.call('ZCARD', due_key) - due,
  due,
  redis.call('ZCARD', cold_key),
  redis.call('ZCOUNT', leases_key, now, '+inf'),
  redis.call('ZCOUNT', queued_key, now, '+inf'),
  redis.call('ZCOUNT', parked_key, now, '+inf'),
  age(due_key),
  age(cold_key),
  redis.call('HGETALL', statistics_key),
}
