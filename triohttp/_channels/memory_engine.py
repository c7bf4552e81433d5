"""The engine of one process: messages are retained in memory, and delivered in the step in which they are published.

Rule 1: what is retained is bounded three ways: messages a topic, bytes in all, topics with anything retained. The
        oldest goes first.
Rule 2: what was forgotten leaves a number behind: a topic's own, or for a topic that is gone the hub's. A reader from
        before that number gets a gap, so that at worst a gap is told where nothing was missed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from operator import itemgetter

import trio

from triohttp.errors import check_count

from .broadcast_engine import BroadcastPosition, BroadcastReplay, BroadcastSink, Gap, Published

__all__ = ["MemoryEngine"]

MESSAGE_BYTES = 400
"""What a retained message costs beside its data, measured and rounded up."""

_seq_of = itemgetter(0)


class _Log:
    """What is retained of a topic."""

    __slots__ = ("forgotten", "messages")

    def __init__(self, forgotten: int) -> None:
        self.messages: deque[tuple[int, Published]] = deque()
        self.forgotten = forgotten
        """The number of the newest that is no longer here."""


class MemoryEngine:
    """Carries messages inside of this process; the default of ``Broadcast``.

    Args:
        max_retained: how many messages a topic keeps for readers that come back; 0 keeps none.
        max_retained_bytes: bound on all that is retained, in bytes; a message counts 400 beside its data.
        max_topics: how many topics may have something retained.
    Raises:
        ValueError: a bound is below 0, or ``max_topics`` below 1.
    """

    def __init__(
        self, *, max_retained: int = 1000, max_retained_bytes: int = 64 * 1024 * 1024, max_topics: int = 10_000
    ) -> None:
        check_count("max_retained", max_retained, 0)
        check_count("max_retained_bytes", max_retained_bytes, 0)
        check_count("max_topics", max_topics, 1)
        self._max_retained = max_retained
        self._max_retained_bytes = max_retained_bytes
        self._max_topics = max_topics
        self._epoch, self._seq = BroadcastPosition.begin()
        self._forgotten = 0
        """The newest number that went with the whole log of a topic."""
        self._logs: OrderedDict[str, _Log] = OrderedDict()
        """The topics with something retained; the one that was published on last is the last."""
        self._order: OrderedDict[int, str] = OrderedDict()
        """The topic of every retained message, oldest first."""
        self._bytes = 0
        self._followed: set[str] = set()
        self._sink: BroadcastSink | None = None

    def __repr__(self) -> str:
        return f"<MemoryEngine: {len(self._order)} messages of {len(self._logs)} topics retained>"

    @property
    def retained_bytes(self) -> int:
        """What counts towards ``max_retained_bytes``."""
        return self._bytes

    @asynccontextmanager
    async def open(self, sink: BroadcastSink) -> AsyncIterator[None]:
        """Deliver to a hub while a block runs; what is retained stays for the next one.

        Raises:
            RuntimeError: it serves another hub.
        """
        if self._sink is not None:
            raise RuntimeError("this engine serves another hub")
        self._sink = sink
        try:
            yield
        finally:
            self._sink = None

    def follow(self, topic: str) -> None:
        """Begin to deliver a topic."""
        self._followed.add(topic)

    def unfollow(self, topic: str) -> None:
        """End the delivery of a topic."""
        self._followed.discard(topic)

    async def publish(self, topic: str, data: str | bytes) -> str:
        """Number a message, retain it, deliver it, and return its id.

        Cancellation: atomic.
        """
        await trio.lowlevel.checkpoint()
        seq = self._seq = self._seq + 1
        message = Published(f"{self._epoch}.{seq}", topic, data)
        self._retain(seq, message)
        if self._sink is not None and topic in self._followed:
            self._sink.deliver(seq, message)
        return message.id

    async def replay(
        self, topics: Sequence[str], after: BroadcastPosition | None, max_messages: int
    ) -> BroadcastReplay:
        """Read the history of topics.

        Cancellation: atomic.
        """
        await trio.lowlevel.checkpoint()
        now = BroadcastPosition(self._epoch, self._seq)
        if after is None:
            return BroadcastReplay((), (), now, True)
        foreign = after.epoch != self._epoch or after.seq > self._seq
        seq = 0 if foreign else after.seq
        expired: list[tuple[int, str]] = []
        found: list[tuple[int, Published]] = []
        for topic in topics:
            log = self._logs.get(topic)
            forgotten = self._forgotten if log is None else log.forgotten
            if seq < forgotten:
                expired.append((forgotten, topic))
            if log is not None:
                first = bisect_right(log.messages, seq, key=_seq_of)
                found += islice(log.messages, first, first + max_messages + 1)
        found.sort(key=_seq_of)
        complete = len(found) <= max_messages
        if not complete:
            del found[max_messages:]
            now = BroadcastPosition(self._epoch, found[-1][0])
        if foreign:
            gaps = [Gap(topic, "epoch") for topic in topics]
        else:
            gaps = [Gap(topic, "expired") for forgotten, topic in expired if forgotten <= now.seq]
        return BroadcastReplay(gaps, found, now, complete)

    def _retain(self, seq: int, message: Published) -> None:
        log = self._logs.get(message.topic)
        if log is None:
            log = self._logs[message.topic] = _Log(self._forgotten)
        else:
            self._logs.move_to_end(message.topic)
        log.messages.append((seq, message))
        self._order[seq] = message.topic
        self._bytes += size_of(message)
        if len(log.messages) > self._max_retained:
            self._forget_oldest(message.topic)
        while self._bytes > self._max_retained_bytes:
            self._forget_oldest(next(iter(self._order.values())))
        while len(self._logs) > self._max_topics:
            self._forget_oldest(next(iter(self._logs)))

    def _forget_oldest(self, topic: str) -> None:
        """Forget the oldest message of a topic, and with its last message the topic."""
        log = self._logs[topic]
        seq, message = log.messages.popleft()
        log.forgotten = seq
        del self._order[seq]
        self._bytes -= size_of(message)
        if not log.messages:
            del self._logs[topic]
            self._forgotten = max(self._forgotten, seq)


def size_of(message: Published) -> int:
    """What a message counts towards ``max_retained_bytes``."""
    data = message.data
    if isinstance(data, str) and not data.isascii():
        return MESSAGE_BYTES + len(data.encode())
    return MESSAGE_BYTES + len(data)
