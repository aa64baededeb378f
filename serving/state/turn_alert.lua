-- Opens or closes one alert and has that delivered, all of it once, or nothing.
-- KEYS: open alerts by subject, ended ones, webhook, deliveries by time, their bodies.
-- ARGV: subject, id of the open alert that ends ('' to open one), the alert as JSON, the delivery's id and body,
--       ended alerts kept, deliveries kept.
-- Returns 1, or 0 if the alert is open already or has ended already.
local open, ended, webhook, due, deliveries = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local held = redis.call('HGET', open, ARGV[1])
if ARGV[2] == '' then
  if held then return 0 end
  redis.call('HSET', open, ARGV[1], ARGV[3])
else
  if not held or cjson.decode(held)['id'] ~= ARGV[2] then return 0 end
  redis.call('HDEL', open, ARGV[1])
  redis.call('LPUSH', ended, ARGV[3])
  redis.call('LTRIM', ended, 0, tonumber(ARGV[6]) - 1)
end
if redis.call('EXISTS', webhook) == 0 then
  return 1
end
local time = redis.call('TIME')
redis.call('ZADD', due, string.format('%.6f', time[1] + time[2] / 1000000), ARGV[4])
redis.call('HSET', deliveries, ARGV[4], ARGV[5])
for _, id in ipairs(redis.call('ZRANGE', due, 0, -tonumber(ARGV[7]) - 1)) do
  redis.call('ZREM', due, id)
  redis.call('HDEL', deliveries, id, id .. ':attempts')
end
return 1
