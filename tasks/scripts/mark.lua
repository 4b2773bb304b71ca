-- ARGV: subject, 1 to count a mark (0: only wake). Returns the fence where the caller has to
-- enqueue, else ''.
local subject = ARGV[1]
if ARGV[2] == '1' then
  redis.call('HINCRBY', subject_key, 'marks', 1)
  redis.call('HSETNX', subject_key, 'asked_at', now)
  redis.call('EXPIRE', subject_key, @SUBJECT_SECONDS@)
end
if is_leased(subject) or is_parked(subject) then return '' end
if redis.call('ZSCORE', cold_key, subject) then return '' end
if ahead(score(due_key, subject), @LONGEST_WINDOW_MS@) then return '' end
local free_at = number(subject_key, 'free_at')
if ahead(free_at, @LONGEST_WINDOW_MS@) then
  redis.call('ZADD', due_key, free_at, subject)
  return ''
end
if room() <= 0 or redis.call('ZCARD', cold_key) > 0 then
  wait_for_turn(subject_key, subject)
  return ''
end
return lease(subject_key, subject)
