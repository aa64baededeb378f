-- Replaces the plan of bundles unless somebody else has meanwhile, and writes the act down.
-- KEYS: plan, audit stream. ARGV: revision that it replaces, new revision, new plan as JSON, entries kept, actor, act,
-- subject, detail. Returns 1, or 0 where the plan is not the one that was read.
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'plan', ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'actor', ARGV[5], 'act', ARGV[6], 'tenant', '',
  'subject', ARGV[7], 'detail', ARGV[8])
return 1
