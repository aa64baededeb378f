-- Takes what one segment uses out of its tenant's token buckets, from all of them or from none.
-- KEYS: buckets (one hash a tenant). ARGV: seconds' worth that a full bucket holds; then for each bucket its
--       name, its rate a second and the amount (negative: put back what was taken and not used).
-- Returns {scarce bucket or '', seconds until there is enough, Redis's time}. The clock is Redis's, so all
-- ingress replicas share it. The arithmetic is that of serving/quota.py, to the bit.
local buckets, burst = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local at = tonumber(redis.call('HGET', buckets, 'at') or now)
local function exact(number)
  return string.format('%.17g', number)
end

local scarce, wait, empty, fields = '', 0, 0, {'at', exact(now)}
for i = 2, #ARGV, 3 do
  local name, rate, amount = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local capacity = rate * burst
  local level = tonumber(redis.call('HGET', buckets, name) or capacity)
  level = math.min(capacity, level + math.max(0, now - at) * rate)
  -- What never fits a bucket takes a full one, and the tenant is in debt until that is paid.
  local needed = math.min(amount, capacity)
  if amount > 0 and level < needed and (needed - level) / rate > wait then
    scarce, wait = name, (needed - level) / rate
  end
  level = math.min(capacity, level - amount)
  empty = math.max(empty, (capacity - level) / rate)
  fields[#fields + 1] = name
  fields[#fields + 1] = exact(level)
end
if scarce == '' then
  redis.call('HSET', buckets, unpack(fields))
  redis.call('EXPIRE', buckets, math.ceil(empty) + 1) -- full buckets are what a tenant without any has
end
return {scarce, exact(wait), exact(now)}
