-- Ends a delivery that was answered or given up, or puts it off; does nothing for one that is gone.
-- KEYS: webhook, deliveries by time, their bodies and attempts.
-- ARGV: id, what was wrong ('' if it was answered), seconds until the next attempt ('' for none).
local webhook, due, deliveries, id = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if not redis.call('ZSCORE', due, id) then
  return
end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
if ARGV[3] ~= '' then
  redis.call('ZADD', due, string.format('%.6f', now + tonumber(ARGV[3])), id)
else
  redis.call('ZREM', due, id)
  redis.call('HDEL', deliveries, id, id .. ':attempts')
end
if redis.call('EXISTS', webhook) == 0 then
  return
end
if ARGV[2] == '' then
  redis.call('HDEL', webhook, 'last_error')
  redis.call('HSET', webhook, 'delivered_at', string.format('%.3f', now))
else
  redis.call('HSET', webhook, 'last_error', ARGV[2])
end
