/** What the store does for one request, in one step that nothing comes between. */

/**
 * Takes from the bucket at `KEYS[1]`, which gains `ARGV[1]` a second and holds `ARGV[2]`: the buckets of `rate-limits.ts`, by
 * the store's clock. Gives the milliseconds until there is something to take, 0 where it was taken. A bucket that is full
 * again is no different from none, so its key ends then.
 */
export const TAKE = `
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local left = burst
local row = redis.call('GET', KEYS[1])
if row then
  local had, at = string.match(row, '^([%d.e+-]+) (%d+)$')
  if not tonumber(had) then return redis.error_reply('ERR no bucket') end
  left = math.min(burst, tonumber(had) + math.max(0, now - tonumber(at)) * rate / 1000000)
end
local wait = 0
if left < 1 then
  wait = math.ceil((1 - left) * 1000 / rate)
else
  left = left - 1
end
local full = math.ceil((burst - left) * 1000 / rate) + 1
redis.call('SET', KEYS[1], string.format('%.17g %.0f', left, now), 'PX', string.format('%.0f', full))
return wait
`;
