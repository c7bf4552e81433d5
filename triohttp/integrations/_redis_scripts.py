"""What Redis itself does for a hub: two scripts, each of which runs as a whole or not at all.

Rule 1: a script reads no more than it returns, but for one piece a stream: Redis serves nobody else meanwhile.
Rule 2: numbers are doubles in Lua, exact up to 2**53, which the clock reaches in 2255; they become text by ``%.0f``,
        since tostring would round them.
Rule 3: what somebody else wrote under our keys is no error: an entry that is not ours is returned for what it is, and
        an epoch that could be in no id counts as none.
"""

from __future__ import annotations

from ._redis_link import Script

__all__ = ["PUBLISH", "REPLAY"]

PUBLISH = Script("""
local hub, topics, stream = KEYS[1], KEYS[2], KEYS[3]
local topic, channel, streams, kind, data, fresh = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local max_retained, max_topics, retain = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local function text(number) return string.format('%.0f', number) end
local epoch = redis.call('HGET', hub, 'epoch')
if not epoch or not string.match(epoch, '^%w+$') then
  epoch = fresh
  redis.call('HSET', hub, 'epoch', epoch)
end
local floor = tonumber(redis.call('HGET', hub, 'floor') or '0')
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local seq = math.max(now, tonumber(redis.call('HGET', hub, 'seq') or '0') + 1)
local before = text(tonumber(redis.call('ZSCORE', topics, topic) or floor))
redis.call('XADD', stream, 'MAXLEN', '~', max_retained, text(seq) .. '-0', 'b', before, 'k', kind, 'd', data)
redis.call('ZADD', topics, text(seq), topic)
local old = redis.call('ZRANGEBYSCORE', topics, '-inf', text(now - retain), 'LIMIT', 0, 10)
if #old == 0 and redis.call('ZCARD', topics) > max_topics then old = redis.call('ZRANGE', topics, 0, 0) end
for _, name in ipairs(old) do
  floor = math.max(floor, tonumber(redis.call('ZSCORE', topics, name)))
  redis.call('ZREM', topics, name)
  redis.call('DEL', streams .. name)
end
redis.call('HSET', hub, 'seq', text(seq), 'floor', text(floor))
redis.call('PUBLISH', channel, epoch .. ' ' .. text(seq) .. ' ' .. before .. ' ' .. kind .. '\\n' .. data)
return {epoch, text(seq)}
""")

# Streams with anything newer stand in a heap by the number of their next entry, so that what is returned is the oldest
# of all of them, in order; each is read on in pieces that double. Topics without news cost a look at their last number.

REPLAY = Script("""
local hub, topics, known = KEYS[1], KEYS[2], KEYS[3]
local fresh, after_epoch, after, max_messages = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local channel, known_epoch, known_seq = ARGV[5], ARGV[6], tonumber(ARGV[7])
local function text(number) return string.format('%.0f', number) end
local function seq_of(entry) return tonumber(string.match(entry[1], '^%d+')) end
local epoch = redis.call('HGET', hub, 'epoch')
if epoch and not string.match(epoch, '^%w+$') then epoch = nil end
local floor = tonumber(redis.call('HGET', hub, 'floor') or '0')
local seq = tonumber(redis.call('HGET', hub, 'seq') or '0')
if epoch and epoch == known_epoch and known_seq > floor then
  local first = redis.call('XRANGE', known, '-', '+', 'COUNT', 1)[1]
  local there = redis.call('XRANGE', known, ARGV[7], ARGV[7])[1]
  if not there and not (first and seq_of(first) > known_seq) then epoch = nil end
end
if not epoch then
  epoch = fresh
  redis.call('HSET', hub, 'epoch', epoch)
  redis.call('PUBLISH', channel, epoch)
end
local foreign = after_epoch ~= epoch or after > seq
if foreign then after = 0 end
local missing, heap, size = {}, {}, 0
for i = 4, #KEYS do
  local number = i - 3
  local last = tonumber(redis.call('ZSCORE', topics, ARGV[i + 4]) or floor)
  missing[number] = last
  if last > after then
    size = size + 1
    heap[size] = {number = number, key = KEYS[i], last = after}
  end
end
local found = {}
local function read_on(stream)
  local count = math.max(1, math.min(stream.count, max_messages - #found))
  local entries = redis.call('XRANGE', stream.key, text(stream.last + 1), '+', 'COUNT', count)
  stream.entries, stream.at, stream.next = entries, 1, nil
  if entries[1] then
    stream.next, stream.last = seq_of(entries[1]), seq_of(entries[#entries])
    stream.count = stream.count * 2
  end
end
local function sift_down(at)
  local stream = heap[at]
  while at * 2 <= size do
    local child = at * 2
    if child < size and heap[child + 1].next < heap[child].next then child = child + 1 end
    if stream.next <= heap[child].next then break end
    heap[at], at = heap[child], child
  end
  heap[at] = stream
end
local function remove(at)
  heap[at] = heap[size]
  heap[size] = nil
  size = size - 1
end
local count = math.ceil(max_messages / math.max(size, 1))
for at = size, 1, -1 do
  local stream = heap[at]
  stream.count = count
  read_on(stream)
  if stream.next then missing[stream.number] = tonumber(stream.entries[1][2][2]) or 0 else remove(at) end
end
for at = math.floor(size / 2), 1, -1 do sift_down(at) end
while size > 0 and #found < max_messages do
  local stream = heap[1]
  local content = stream.entries[stream.at][2]
  found[#found + 1] = {stream.number, text(stream.next), content[4] or '', content[6] or ''}
  stream.at = stream.at + 1
  local following = stream.entries[stream.at]
  if following then stream.next = seq_of(following) else read_on(stream) end
  if not stream.next then remove(1) end
  if size > 0 then sift_down(1) end
end
local reached = seq
if size > 0 then reached = tonumber(found[#found][2]) end
local expired = {}
for number, before in ipairs(missing) do
  if before > after and before <= reached then expired[#expired + 1] = number end
end
return {epoch, text(reached), size == 0 and 1 or 0, foreign and 1 or 0, expired, found}
""")
