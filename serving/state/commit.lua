-- Commits one segment: counters, averages, answer. All of it once per (camera, seq), or nothing.
-- KEYS: camera hash, answers hash, open set, hourly counters of usage, audits that are asked for, transitions,
--       results, this segment's place in the ring of label maps.
-- ARGV: seq, configuration, cost, overuse and deficit ('' where unknown), bytes, frames, target, answer,
--       smoothing, answers kept, embedding ('' if none), dropped as 'seq:cost,seq:cost', FLOPs,
--       seconds after which an idle camera is forgotten, share of segments that are audited ('' if no audit
--       was drawn), label map of the last frame ('' unless this segment is audited), transitions kept,
--       bandwidth, probability of the choice, seq whose embedding it went by, what else the policy saw ('' each
--       where unknown), the result as JSON, results kept, window of results in milliseconds, label maps ('' if none
--       are kept), seconds that they are kept, the bundle that answered ('' where unknown).
-- Returns {verdict, answer, 1 if counters of past hours wait to be folded, drops that were counted}. The averages'
-- arithmetic is that of serving/state/averages.py, to the bit.
local camera, answers, open, usage, audits, transitions, results, maps = unpack(KEYS)
local AUDITS_OPEN = 4
local seq, target, smoothing, kept = ARGV[1], tonumber(ARGV[8]), tonumber(ARGV[10]), tonumber(ARGV[11])

if redis.call('EXISTS', camera) == 0 then
  return {'missing', ''}
end
local stored = redis.call('HGET', answers, seq)
if stored == 'dropped' then
  return {'dropped', ''}
elseif stored then
  return {'replay', stored}
end
local state = redis.call('HMGET', camera, 'last_seq', 'floor_seq', 'state_target', 'cost_average',
  'deficit_average', 'overuse_average', 'state_version', 'deficit_updates', 'epoch', 'state_bundle')
local last, floor = tonumber(state[1] or '-1'), tonumber(state[2] or '-1')
if tonumber(seq) <= last and not redis.call('ZSCORE', open, seq) then
  return {'stale', tostring(last)}
end

-- Version 1 had the embedding as decimal text, twice the size, and did not count the deficit's updates.
if state[7] == '1' then
  redis.call('HDEL', camera, 'last_embedding')
end
local updates, epoch = tonumber(state[8] or '0'), tonumber(state[9] or '0')

local function exact(number)
  return string.format('%.17g', number)
end
local cost_average, deficit, overuse = tonumber(state[4] or ''), tonumber(state[5] or '0'), tonumber(state[6] or '0')
-- A new target starts the competition anew (DESIGN: whenever A or B is drawn anew).
-- So does another bundle: its costs are in another unit, its predictions are another network's.
local bundle = ARGV[28] or ''
local changed = bundle ~= '' and state[10] and state[10] ~= bundle
if changed then
  redis.call('HDEL', camera, 'audit_weight', 'audit_error')
end
if changed or (state[3] and tonumber(state[3]) ~= target) then
  cost_average, deficit, overuse = nil, 0, 0
  updates, epoch = 0, epoch + 1
end
local function follow(average, value)
  return smoothing * value + (1 - smoothing) * average
end
local function add_cost(cost)
  cost_average = cost_average and follow(cost_average, cost) or cost
  redis.call('HSET', camera, 'cost_total',
    exact(tonumber(redis.call('HGET', camera, 'cost_total') or '0') + cost))
end

-- What is promised is counted anew when another share of segments is audited: one coin explains one share.
local share = ARGV[16]
if share ~= '' and redis.call('HGET', camera, 'audit_share') ~= share then
  redis.call('HDEL', camera, 'promise_segments', 'promise_dropped', 'audits_asked', 'audits_done', 'audits_failed')
  redis.call('DEL', audits)
  redis.call('HSET', camera, 'audit_share', share)
end

local counted = {}
for dropped_seq, dropped_cost in string.gmatch(ARGV[13], '(%d+):([^,]+)') do
  local number = tonumber(dropped_seq)
  if number > floor and redis.call('HEXISTS', answers, dropped_seq) == 0 then
    -- Accuracy 0, so the deficit is the whole target; its bytes never came, so overuse stays as it is.
    add_cost(tonumber(dropped_cost))
    deficit, updates = follow(deficit, target), updates + 1
    redis.call('HSET', answers, dropped_seq, 'dropped')
    redis.call('ZREM', open, dropped_seq)
    redis.call('HINCRBY', camera, 'dropped', 1)
    redis.call('HINCRBY', camera, 'promise_dropped', 1)
    if number > last then last = number end
    counted[#counted + 1] = dropped_seq
  end
end

add_cost(tonumber(ARGV[3]))
if ARGV[4] ~= '' then
  overuse = follow(overuse, tonumber(ARGV[4]))
end
if ARGV[5] ~= '' then
  deficit, updates = follow(deficit, tonumber(ARGV[5])), updates + 1
end
if share ~= '' then
  redis.call('HINCRBY', camera, 'promise_segments', 1)
end
if ARGV[17] ~= '' then
  redis.call('HINCRBY', camera, 'audits_asked', 1)
  -- An audit that is not there before so many others are asked for stays unanswered.
  local waiting = redis.call('HKEYS', audits)
  table.sort(waiting, function(a, b) return tonumber(a) < tonumber(b) end)
  for i = 1, #waiting - AUDITS_OPEN + 1 do
    redis.call('HDEL', audits, waiting[i])
  end
  redis.call('HSET', audits, seq, string.format('%d %d %s %s %s\n', epoch, updates, ARGV[8],
    ARGV[5], bundle) .. ARGV[17])
  redis.call('EXPIRE', audits, 3600)
end
if tonumber(seq) > last then last = tonumber(seq) end
local time = redis.call('TIME')
redis.call('HSET', camera, 'state_version', '2', 'last_at', time[1], 'state_target', ARGV[8],
  'last_seq', string.format('%.0f', last), 'last_configuration', ARGV[2],
  'deficit_updates', string.format('%d', updates), 'epoch', string.format('%d', epoch),
  'cost_average', exact(cost_average), 'deficit_average', exact(deficit), 'overuse_average', exact(overuse))
if ARGV[12] ~= '' then
  redis.call('HSET', camera, 'last_embedding', ARGV[12])
elseif changed then
  redis.call('HDEL', camera, 'last_embedding')
end
if bundle ~= '' then
  redis.call('HSET', camera, 'state_bundle', bundle)
end
redis.call('HINCRBY', camera, 'segments', 1)
redis.call('HINCRBY', camera, 'bytes', ARGV[6])
redis.call('HINCRBY', camera, 'frames', ARGV[7])
redis.call('HSET', answers, seq, ARGV[9])
redis.call('ZREM', open, seq)

-- What was chosen and what came of it, for learning (serving/state/transitions.py).
if ARGV[18] ~= '0' then
  redis.call('XADD', transitions, 'MAXLEN', '~', ARGV[18], '*', 'seq', seq, 'configuration', ARGV[2],
    'probability', ARGV[20], 'feedback', ARGV[21], 'seen', ARGV[22], 'bytes', ARGV[6], 'bandwidth', ARGV[19],
    'target', ARGV[8], 'cost', ARGV[3], 'deficit', ARGV[5], 'overuse', ARGV[4], 'embedding', ARGV[12],
    'bundle', bundle)
  redis.call('EXPIRE', transitions, ARGV[15])
end

-- The result for those who read along, and its label maps (serving/state/results.py).
local last_result = redis.call('HGET', camera, 'last_result')
redis.call('HSET', camera, 'last_result', seq)
redis.call('XADD', results, 'MAXLEN', ARGV[24], '*', 'seq', seq, 'result', ARGV[23], 'previous', last_result or '',
  'dropped', table.concat(counted, ','))
redis.call('XTRIM', results, 'MINID', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[25]))
redis.call('PEXPIRE', results, ARGV[25])
if ARGV[26] ~= '' then
  redis.call('SET', maps, ARGV[26], 'EX', ARGV[27])
end

-- Usage, by the hour in which the segment was committed (serving/state/usage.py folds it into the ledger).
local hour = string.format('%d', math.floor(time[1] / 3600))
local first = redis.call('HINCRBY', usage, hour .. ':segments', 1) == 1
redis.call('HINCRBY', usage, hour .. ':flops', ARGV[14])
redis.call('HINCRBY', usage, hour .. ':bytes', ARGV[6])
local past = first and redis.call('HLEN', usage) > 4 and 1 or 0

redis.call('EXPIRE', camera, ARGV[15])
redis.call('EXPIRE', answers, ARGV[15])

-- Keep the newest answers; everything at or below the floor counts as settled.
local excess = redis.call('HLEN', answers) - kept
if excess > 0 then
  local numbers = {}
  for _, field in ipairs(redis.call('HKEYS', answers)) do
    numbers[#numbers + 1] = tonumber(field)
  end
  table.sort(numbers)
  for i = 1, excess do
    redis.call('HDEL', answers, string.format('%.0f', numbers[i]))
    floor = math.max(floor, numbers[i])
  end
  redis.call('HSET', camera, 'floor_seq', string.format('%.0f', floor))
end
return {'committed', ARGV[9], past, #counted}
