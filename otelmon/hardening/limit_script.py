"""The script by which Redis decides on a request under all of its limits at once.

It is the sliding window counter of `ledger.sliding` in Lua: a record is a hash of a window's start
(ms of that Redis's clock), the hits in the window before and those in it, and is removed once it
is over. The clock is Redis's own, as those of the machines that ask differ.
"""

from __future__ import annotations

from typing import Final


SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local windows, admitted = {}, 1
for i, key in ipairs(KEYS) do
  local limit, period = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local found = redis.call('HMGET', key, 'start', 'before', 'hits')
  local start, before, hits = tonumber(found[1]), tonumber(found[2]), tonumber(found[3])
  if not start or not before or not hits or now - start >= 2 * period then
    start, before, hits = now, 0, 0
  elseif now - start >= period then
    start, before, hits = start + period, hits, 0
  end
  -- A clock that seems to have gone back would make the part above one.
  local part = math.floor(before * (period - math.max(0, now - start)) / period)
  if part + hits >= limit then
    admitted = 0
  end
  windows[i] = {start, before, hits}
end
if admitted == 1 then
  for i, key in ipairs(KEYS) do
    local start, period, window = windows[i][1], tonumber(ARGV[2 * i]), windows[i]
    window[3] = window[3] + 1
    redis.call('HSET', key, 'start', start, 'before', window[2], 'hits', window[3])
    redis.call('PEXPIRE', key, 2 * period - math.max(0, now - start))
  end
end
return {admitted, now, windows}
"""
"""KEYS: a record for each limit. ARGV: for each how many hits in how many ms. Returns whether all
admit the hit, 1 or 0, the time, and the windows, in which it is counted if they do."""
