-- Holds claims of places against all processes; the newest claim of each place wins.
-- KEYS: the places; ARGV: seconds until a place ends by itself, then a claim for each place
-- Returns the claims that now stand. A claim is newer where it sorts after the other.
local standing = {}
for index, place in ipairs(KEYS) do
  local mine, stored = ARGV[index + 1], redis.call('GET', place)
  if stored and stored > mine then
    mine = stored
  end
  redis.call('SET', place, mine, 'EX', ARGV[1])
  standing[index] = mine
end
return standing
