-- Takes off a camera's counters what its tenant's ledger holds now, once for each generation.
-- KEYS: counters. ARGV: generation, then hour, segments, FLOPs, bytes for each hour.
local counters, generation = KEYS[1], ARGV[1]
if (redis.call('HGET', counters, 'generation') or '0') ~= generation then
  return 0
end
for i = 2, #ARGV, 4 do
  for offset, unit in ipairs({'segments', 'flops', 'bytes'}) do
    local field, amount = ARGV[i] .. ':' .. unit, ARGV[i + offset]
    if amount ~= '0' and redis.call('HINCRBY', counters, field, '-' .. amount) == 0 then
      redis.call('HDEL', counters, field)
    end
  end
end
redis.call('HINCRBY', counters, 'generation', 1)
return 1
