-- Takes or renews the right to look at all cameras. KEYS: its holder, the watch. ARGV: who, lease in milliseconds.
-- Returns {1, time, since}: since when looks have followed each other by less than two leases; or {0} while another
-- holds it. Times are Redis's, in seconds.
local holder, watch = KEYS[1], KEYS[2]
local held = redis.call('GET', holder)
if held and held ~= ARGV[1] then
  return {0}
end
redis.call('SET', holder, ARGV[1], 'PX', ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local state = redis.call('HMGET', watch, 'looked_at', 'since')
local since = tonumber(state[2] or now)
if not state[1] or now - tonumber(state[1]) > 2 * tonumber(ARGV[2]) / 1000 then
  since = now
end
redis.call('HSET', watch, 'looked_at', string.format('%.6f', now), 'since', string.format('%.6f', since))
return {1, string.format('%.6f', now), string.format('%.6f', since)}
