-- Counts an audit's outcome, once, and corrects the average deficit as if it had been known at the commit.
-- KEYS: camera hash, audits that are asked for, transitions, results. ARGV: seq, measured mIoU, smoothing, transitions kept,
-- share of older audits' weight that is kept.
-- Returns 'met' or 'missed', or '' for an audit that nobody asked for, was counted already, or came too late.
-- The arithmetic is that of serving/state/averages.py, to the bit.
local camera, audits, transitions, results, smoothing = KEYS[1], KEYS[2], KEYS[3], KEYS[4], tonumber(ARGV[3])
local asked = redis.call('HGET', audits, ARGV[1])
if not asked then
  return ''
end
redis.call('HDEL', audits, ARGV[1])
-- Older versions did not name the bundle.
local epoch, updates, target, predicted, bundle = string.match(asked, '^(%d+) (%d+) (%S+) (%S*) ?(%S*)\n')
local deficit = tonumber(target) - tonumber(ARGV[2])
redis.call('HINCRBY', camera, 'audits_done', 1)
if ARGV[4] ~= '0' then
  redis.call('XADD', transitions, 'NOMKSTREAM', 'MAXLEN', '~', ARGV[4], '*', 'seq', ARGV[1], 'miou', ARGV[2])
end
redis.call('XADD', results, 'NOMKSTREAM', '*', 'seq', ARGV[1], 'miou', ARGV[2])
if deficit > 0 then
  redis.call('HINCRBY', camera, 'audits_failed', 1)
end
local state = redis.call('HMGET', camera, 'epoch', 'deficit_updates', 'deficit_average', 'audit_weight',
  'audit_error', 'state_bundle')
-- What was wrong about another bundle's prediction says nothing of this one's.
if predicted ~= '' and (bundle == '' or bundle == state[6]) then
  -- Older audits count for less: streets, cameras and bundles change.
  local kept = tonumber(ARGV[5])
  redis.call('HSET', camera, 'audit_weight', string.format('%.17g', kept * tonumber(state[4] or '0') + 1),
    'audit_error', string.format('%.17g', kept * tonumber(state[5] or '0') + tonumber(predicted) - deficit))
end
-- Since a new target the average holds nothing of this segment (DESIGN: it starts anew).
if predicted ~= '' and state[1] == epoch then
  local weight = smoothing
  for _ = 1, tonumber(state[2]) - tonumber(updates) do
    weight = weight * (1 - smoothing)
    if weight < 1e-30 then break end
  end
  redis.call('HSET', camera, 'deficit_average',
    string.format('%.17g', tonumber(state[3]) + weight * (deficit - tonumber(predicted))))
end
return deficit > 0 and 'missed' or 'met'
