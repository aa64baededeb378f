-- Finds where a reader of results goes on. KEYS: results, camera hash. ARGV: the segment that it has, '' for none.
-- Returns {id}, behind which it goes on; or {'', seq} if results are lost to it, with the oldest that is held ('').
local results, camera, wanted = KEYS[1], KEYS[2], ARGV[1]
local PAGE = 64
local newest = redis.call('XREVRANGE', results, '+', '-', 'COUNT', 1)
if wanted == '' then
  if newest[1] then
    return {newest[1][1]}
  end
  -- Behind everything that there was, and before what comes.
  local time = redis.call('TIME')
  return {string.format('%.0f-9999999999', time[1] * 1000 + math.floor(time[2] / 1000) - 1)}
end
local function value(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end
local ends, oldest, before = '+', '', ''
while true do
  local page = redis.call('XREVRANGE', results, ends, '-', 'COUNT', PAGE)
  for _, found in ipairs(page) do
    local fields = found[2]
    if value(fields, 'result') then
      oldest, before = value(fields, 'seq'), value(fields, 'previous')
      if oldest == wanted then
        return {found[1]}
      end
    end
    ends = '(' .. found[1]
  end
  if #page < PAGE then break end
end
-- What it has was the last one before those that are held: it lost nothing.
if oldest == '' then
  before = redis.call('HGET', camera, 'last_result') or ''
end
if before == wanted then
  return {'0-0'}
end
return {'', oldest}
