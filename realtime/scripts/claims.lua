-- Holds claims of places against all processes; the newest claim of each place wins.
-- KEYS: the places; ARGV: seconds until a place ends by itself, then a claim for each place
-- Returns the claims that now stand. A claim is newer where it sorts after the other; one that is
-- ahead of the present was made before the clock was set back, or by another's, and is the older.
local now = redis.call('TIME')
local present = string.format('%012d.%06d', now[1] + 1, now[2])
local function is_newer(one, other)
  if (one > present) ~= (other > present) then
    return other > present
  end
  return one > other
end
local standing = {}
for index, place in ipairs(KEYS) do
  local mine, stored = ARGV[index + 1], redis.call('GET', place)
  if stored and is_newer(stored, mine) then
    mine = stored
  end
  redis.call('SET', place, mine, 'EX', ARGV[1])
  standing[index] = mine
end
return standing
