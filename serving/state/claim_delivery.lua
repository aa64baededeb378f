-- Claims the delivery of a tenant that is due longest: for the lease it is not due for others.
-- KEYS: webhook, deliveries by time, their bodies and attempts. ARGV: lease in seconds.
-- Returns {id, body, attempt, URL, secret}, or nothing.
local webhook, due, deliveries = KEYS[1], KEYS[2], KEYS[3]
local target = redis.call('HMGET', webhook, 'url', 'secret')
if not target[1] then
  return {}
end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local id = redis.call('ZRANGEBYSCORE', due, '-inf', string.format('%.6f', now), 'LIMIT', 0, 1)[1]
if not id then
  return {}
end
redis.call('ZADD', due, string.format('%.6f', now + tonumber(ARGV[1])), id)
local attempt = redis.call('HINCRBY', deliveries, id .. ':attempts', 1)
return {id, redis.call('HGET', deliveries, id), attempt, target[1], target[2]}
