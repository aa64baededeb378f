-- Ends a key that is in force, puts a successor in its place where one is given, and writes the act down.
-- KEYS: key hash, index of keys, audit stream, successor's hash.
-- ARGV: time, actor, act, entries kept, key id, successor's id and sha256 ('' for none).
-- Returns {verdict, tenant, scope, label}. An ended key stays listed; without sha256 it opens nothing.
local key, index, audit, successor = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time, id, new_id, sha256 = ARGV[1], ARGV[5], ARGV[6], ARGV[7]

local fields = redis.call('HMGET', key, 'sha256', 'tenant', 'scope', 'label')
if not fields[1] then
  return {'missing', '', '', ''}
end
local tenant, scope, label = fields[2], fields[3], fields[4] or ''
if new_id ~= '' and scope == 'camera' then
  return {'camera', tenant, scope, label}
end
redis.call('HDEL', key, 'sha256')
redis.call('HSET', key, 'revoked_at', time)
if new_id ~= '' then
  redis.call('HSET', successor, 'sha256', sha256, 'tenant', tenant, 'scope', scope, 'label', label,
    'created_at', time)
  redis.call('ZADD', index, 0, tenant .. '/' .. new_id)
end
redis.call('XADD', audit, 'MAXLEN', '~', ARGV[4], '*', 'actor', ARGV[2], 'act', ARGV[3], 'tenant', tenant,
  'subject', id, 'detail', new_id)
return {'ended', tenant, scope, label}
