-- Gives a tenant one of the places among those whom metrics tell apart, or keeps it there.
-- KEYS: places (tenants by when they were last seen, seconds). ARGV: tenant, places there are, seconds after which
-- an idle one is free. Returns 1, or 0 where all are held by others.
local places, tenant = KEYS[1], ARGV[1]
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', places, '-inf', now - tonumber(ARGV[3]))
if not redis.call('ZSCORE', places, tenant) and redis.call('ZCARD', places) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', places, now, tenant)
return 1
