-- ARGV: the prefix of subjects' hashes, how many to lease at most.
-- Returns [ms until the next is due, or -1; subject, fence, subject, fence, …].
local function due_now(key, low, high)
  for _, subject in ipairs(redis.call('ZRANGEBYSCORE', key, low, high, 'LIMIT', 0, 100)) do
    redis.call('ZREM', key, subject)
    redis.call('ZADD', due_key, now, subject)
  end
end
due_now(leases_key, '-inf', now)
due_now(leases_key, now + @LEASE_MS@ + 1, '+inf')
due_now(due_key, now + @LONGEST_WINDOW_MS@ + 1, '+inf')

-- The two lanes take turns, over calls as well: neither a crowd of cold subjects nor a few hot
-- ones take more than half of the room while the other lane waits.
local places = math.min(room(), tonumber(ARGV[2]))
local lanes, answer, empty = {}, {-1}, 0
if places > 0 then
  lanes[0] = redis.call('ZRANGEBYSCORE', due_key, '-inf', now, 'LIMIT', 0, places)
  lanes[1] = redis.call('ZRANGE', cold_key, 0, places - 1)
  local turn = number(statistics_key, 'turn')
  while places > 0 and empty < 2 do
    local subject = table.remove(lanes[turn], 1)
    turn = 1 - turn
    if subject then
      answer[#answer + 1] = subject
      answer[#answer + 1] = lease(ARGV[1] .. subject, subject)
      places, empty = places - 1, 0
    else
      empty = empty + 1
    end
  end
  if #answer > 1 then redis.call('HSET', statistics_key, 'turn', turn) end
end
local first = redis.call('ZRANGE', due_key, 0, 0, 'WITHSCORES')
if redis.call('ZCARD', cold_key) > 0 then
  answer[1] = 0
elseif first[2] then
  answer[1] = math.max(0, tonumber(first[2]) - now)
end
return answer
