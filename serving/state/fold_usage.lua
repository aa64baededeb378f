-- Adds what a camera's counters showed to its tenant's ledger, once for each generation of the counters.
-- KEYS: what was folded last by camera, then the ledger's months. ARGV: camera, its name, generation, seconds
--       that a month is kept; then for each hour the number of its month's key, hour, segments, FLOPs, bytes.
-- Returns 'hour segments FLOPs bytes ...' as it was added with this generation, or '' if the generation is over.
-- Whoever called must now take exactly that off the camera's counters (settle_usage.lua).
local folded, camera, generation = KEYS[1], ARGV[1], tonumber(ARGV[3])
local last, amounts = string.match(redis.call('HGET', folded, camera) or '-1 ', '^(%-?%d+) (.*)$')
if tonumber(last) == generation then
  return amounts
elseif tonumber(last) > generation then
  return ''
end
local added = {}
for i = 5, #ARGV, 5 do
  local month, hour = KEYS[tonumber(ARGV[i])], ARGV[i + 1]
  for offset, unit in ipairs({'segments', 'flops', 'bytes'}) do
    local amount = ARGV[i + 1 + offset]
    redis.call('HINCRBY', month, 'hour:' .. hour .. ':' .. unit, amount)
    redis.call('HINCRBY', month, 'camera:' .. camera .. ':' .. unit, amount)
  end
  if ARGV[2] ~= '' then
    redis.call('HSET', month, 'camera:' .. camera .. ':name', ARGV[2])
  end
  redis.call('EXPIRE', month, ARGV[4])
  added[#added + 1] = table.concat(ARGV, ' ', i + 1, i + 4)
end
amounts = table.concat(added, ' ')
redis.call('HSET', folded, camera, ARGV[3] .. ' ' .. amounts)
return amounts
