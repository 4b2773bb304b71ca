-- Takes a seat for one more connection of a user, or says that all are taken.
-- KEYS: the user's seats (hash: process -> connections), the processes (sorted set: lease end)
-- ARGV: this process, its connections of the user with the new one, the limit, a lease's seconds,
--       seconds until the hash ends by itself
-- Returns 1 where there is room. The seats of a process whose lease has ended do not count.
local now = tonumber(redis.call('TIME')[1])
local total = tonumber(ARGV[2])
local seats = redis.call('HGETALL', KEYS[1])
for place = 1, #seats, 2 do
  local process = seats[place]
  if process ~= ARGV[1] then
    local lease = tonumber(redis.call('ZSCORE', KEYS[2], process) or 0)
    -- A lease further ahead than any can be was given before the clock was set back.
    if lease >= now and lease <= now + ARGV[4] then
      total = total + seats[place + 1]
    else
      redis.call('HDEL', KEYS[1], process)
    end
  end
end
if total > tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
