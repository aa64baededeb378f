-- Claims one segment of a camera, or says why it needs no work.
-- KEYS: camera hash, answers hash, open set (seq by lease end, milliseconds).
-- ARGV: seq, lease in milliseconds, newest state version that is understood.
-- Returns {verdict, detail, target, seconds, fps, width, height, weight of audits, sum of their errors, and the
-- camera's own limits ('' where it has none): segments, GFLOPs, bytes a second}.
local camera, answers, open = KEYS[1], KEYS[2], KEYS[3]
local seq = ARGV[1]
local fields = redis.call('HMGET', camera, 'last_seq', 'target_miou', 'seconds', 'fps', 'width', 'height',
  'state_version', 'audit_weight', 'audit_error', 'segments_per_s', 'gflops_per_s', 'bytes_per_s')
if not fields[2] then
  return {'missing'}
end
if tonumber(fields[7] or '0') > tonumber(ARGV[3]) then
  return {'newer'}
end
local function verdict(word, detail)
  return {word, detail, fields[2], fields[3], fields[4], fields[5], fields[6], fields[8] or '0', fields[9] or '0',
    fields[10] or '', fields[11] or '', fields[12] or ''}
end

local stored = redis.call('HGET', answers, seq)
if stored == 'dropped' then
  return verdict('dropped', fields[1])
elseif stored then
  return verdict('replay', stored)
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('ZSCORE', open, seq)
if lease and tonumber(lease) > now then
  return verdict('wait', tostring(tonumber(lease) - now))
end
-- A segment that was claimed once and never committed may be tried again, however far others have got.
if not lease and fields[1] and tonumber(seq) <= tonumber(fields[1]) then
  return verdict('stale', fields[1])
end
redis.call('ZADD', open, now + tonumber(ARGV[2]), seq)
if redis.call('ZCARD', open) > 64 then
  redis.call('ZREMRANGEBYRANK', open, 0, 0)
end
redis.call('EXPIRE', open, 86400)
return verdict('go', '')
