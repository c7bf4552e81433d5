"""Publish and subscribe by topic, for handing one message to many event streams and WebSockets.

Rule 1: publishing waits for the engine and never for a reader.
Rule 2: all that is said of messages, positions and gaps is the same with every engine.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, get_args

import trio

from triohttp.errors import check_count, clip

from .broadcast_engine import BroadcastEngine, BroadcastPosition
from .memory_engine import MemoryEngine
from .subscription import FanOut, Overflow, Subscription

__all__ = ["Broadcast", "BroadcastStatistics"]


@dataclass(frozen=True, slots=True)
class BroadcastStatistics:
    """What a hub has to do at this moment, in this process."""

    subscriptions: int
    """Open subscriptions, which get whatever is published from now on."""
    topics: int
    """Topics that somebody has subscribed to."""
    pending: int
    """Items in the buffers of all subscriptions."""
    behind: int
    """Subscriptions that read from the history and not what is published now."""
    dropped: int
    """Messages that were dropped because a reader did not keep up, since the hub was opened."""


class Broadcast:
    """A hub: ``async with`` it, usually in the lifespan of an app, and publish and subscribe inside.

    Args:
        engine: what carries and retains the messages; None means a ``MemoryEngine()`` of this process.
    Raises:
        RuntimeError: it is entered while it is open; once it has closed, it may be opened again.
    """

    def __init__(self, engine: BroadcastEngine | None = None) -> None:
        self._engine = MemoryEngine() if engine is None else engine
        self._fan_out: FanOut | None = None
        self._opened: AbstractAsyncContextManager[object] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._fan_out is None else f"{len(self._fan_out.subscriptions)} subscriptions"
        return f"<Broadcast: {state}, on {self._engine!r}>"

    async def __aenter__(self) -> Self:
        if self._fan_out is not None:
            raise RuntimeError("this hub is open already")
        fan_out = self._fan_out = FanOut(self._engine)
        try:
            self._opened = self._engine.open(fan_out)
            await self._opened.__aenter__()
        except BaseException:
            self._fan_out = None
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._fan_out is not None and self._opened is not None
        self._fan_out.close()
        self._fan_out = None
        await self._opened.__aexit__(exc_type, exc, traceback)

    async def publish(self, topic: str, data: str | bytes) -> str:
        """Hand a message to everybody who has subscribed to ``topic``, in every process of the hub; return its id.

        Nobody needs to have subscribed: the message is retained for readers that come back.

        Args:
            topic: a name of printable characters.
            data: text or bytes, which arrive as such.
        Cancellation: atomic with the memory engine; with another one the message may have been published.
        Raises:
            TransportError: the engine's store could not be reached, or refused; ``sent`` is true when the message may
                have been published all the same.
            trio.ClosedResourceError: the hub is not open.
            TypeError, ValueError: an argument is not what is said above.
        """
        check_data(data)
        check_topic(topic)
        if self._fan_out is None:
            raise trio.ClosedResourceError("this hub is not open")
        return await self._engine.publish(topic, data)

    def subscribe(
        self, *topics: str, after: str | None = None, max_pending: int = 64, overflow: Overflow = "gap"
    ) -> Subscription:
        """Return a subscription to topics; ``async with`` it, and whatever is published from then on can be received.

        Args:
            topics: at least one.
            after: the id of the last message that was read, such as a client's Last-Event-ID; what has been published
                since then, and is still retained, comes first. It may be anything that a client sends. None or an empty
                string begins with what is published from now on.
            max_pending: how many messages may wait for this reader, from 1; also how many are read from the history at
                a time.
            overflow: what happens when one more comes. ``gap``: the oldest half is dropped, and a ``Gap`` for each of
                their topics takes their place. ``close``: everything is dropped, and receiving raises
                ``SlowReaderError``. ``latest`` counts otherwise, for topics whose last message says all: of each topic
                only the newest waits, without a gap, behind those that are being handed out. So there are at most two
                a topic, whatever ``max_pending`` is.
        Raises:
            trio.ClosedResourceError: the hub is not open.
            TypeError, ValueError: an argument is not what is said above.
        """
        if not topics:
            raise ValueError("subscribe takes at least one topic")
        for topic in topics:
            check_topic(topic)
        check_count("max_pending", max_pending, 1)
        if overflow not in get_args(Overflow):
            raise ValueError(f"overflow must be 'gap', 'latest' or 'close', not {clip(overflow)}")
        if self._fan_out is None:
            raise trio.ClosedResourceError("this hub is not open")
        position = BroadcastPosition.parse(after) if after else None
        return Subscription(self._fan_out, self._engine, tuple(dict.fromkeys(topics)), position, max_pending, overflow)

    def statistics(self) -> BroadcastStatistics:
        """Return how much there is of everything."""
        fan_out = self._fan_out
        if fan_out is None:
            return BroadcastStatistics(0, 0, 0, 0, 0)
        return BroadcastStatistics(
            subscriptions=fan_out.opened,
            topics=fan_out.topics,
            pending=sum(one.pending for one in fan_out.subscriptions),
            behind=sum(one.behind for one in fan_out.subscriptions),
            dropped=fan_out.dropped,
        )


def check_data(data: object) -> None:
    """Raise for what cannot be published."""
    if isinstance(data, str):
        if not data.isascii():
            data.encode()  # half of a surrogate pair is no text, for whoever would have to send it
    elif not isinstance(data, bytes):
        raise TypeError(f"data must be str or bytes, not {type(data).__qualname__}")


def check_topic(topic: object) -> None:
    """Raise for what is no topic. Names end up in event streams and keys, so they are one line of text."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic must be a str, not {type(topic).__qualname__}")
    if not topic or not topic.isprintable():
        raise ValueError(f"a topic must be a name of printable characters, not {clip(topic)}")
