-- Gives a camera's name an id, unless it has one or the tenant has as many cameras as it may.
-- KEYS: names of the tenant's cameras. ARGV: name, id, most cameras. Returns the id in force, or nil.
local names, name, id = KEYS[1], ARGV[1], ARGV[2]
local held = redis.call('HGET', names, name)
if held then
  return held
end
if redis.call('HLEN', names) >= tonumber(ARGV[3]) then
  return nil
end
redis.call('HSET', names, name, id)
return id
