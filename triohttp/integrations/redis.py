"""Redis as the store of a broadcast hub, for hubs that many processes and hosts share.

A message is numbered, retained and published by one script, so that all processes see one order. A process has one
connection for everything: Redis executes what comes over it in order, so a topic that was subscribed to before its
history is read has no hole in between.

Keys, all with the hash tag of the hub's name: a hash with the epoch, the last number, and the newest number that was
forgotten; a sorted set of the topics by their last number; a stream a topic. A number is the server's clock in
microseconds, or one more than the last: so it tells which topics have been silent for long, and a server that comes
back from an old snapshot gives none out twice.

Rule 1: a message names the one before it on its topic. When that has not been seen, and after every new connection,
        what is missing is read from the streams; until then what comes is dropped, to be read in its turn. So nothing
        piles up here, whatever is published meanwhile.
Rule 2: a store that lost what somebody has seen starts a new epoch: an emptied one by having none, one from an old
        snapshot when a process comes back and does not find the newest message that it knows.
"""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import trio

from triohttp import BroadcastPosition, BroadcastReplay, BroadcastSink, Gap, Published
from triohttp.errors import check_count, clip

from ._redis_link import RedisLink
from ._redis_scripts import PUBLISH, REPLAY

if TYPE_CHECKING:
    from coredis.connection import BaseConnection

__all__ = ["RedisEngine"]

PAGE_MESSAGES = 256
"""How many messages are read at a time when a process catches up."""
NOWHERE = BroadcastPosition("", 0)

Known: TypeAlias = tuple[str, BroadcastPosition]


class _Arrived(NamedTuple):
    """A message as it was pushed."""

    position: BroadcastPosition
    before: int
    """The number of the message before it on its topic."""
    message: Published


class RedisEngine:
    """Carries the messages of a hub through Redis, for all processes whose engines have the same ``name``.

    It needs Redis 6 or later, one primary; no cluster. Redis must not evict the keys: the policies ``noeviction`` and
    ``volatile-…`` do not.

    Args:
        url: ``redis://[user:password@]host[:port][/db]``, ``rediss://…`` for TLS, or ``unix:///path[?db=1]``.
        name: of the hub; its keys begin with it, in braces.
        tls: the context for ``rediss``; None means ``ssl.create_default_context()``.
        max_retained: how many messages a topic keeps for readers that come back, from 1; Redis may keep a hundred more.
        max_topics: how many topics may have something retained, from 1; the one silent for longest is forgotten.
        retain_seconds: how long a topic may be silent before it is forgotten, in seconds.
        connect_seconds: what connecting may take.
        ping_seconds: how often a silent connection is tried, and what an answer may take.
        max_in_flight: how many requests may be under way, from 1, those included whose tasks were cancelled; who
            publishes or subscribes beyond that waits, and one that is cancelled then has published nothing.
    Raises:
        ValueError: an argument is not what is said above.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        *,
        name: str = "triohttp",
        tls: ssl.SSLContext | None = None,
        max_retained: int = 1000,
        max_topics: int = 10_000,
        retain_seconds: float = 86_400.0,
        connect_seconds: float = 5.0,
        ping_seconds: float = 15.0,
        max_in_flight: int = 1000,
    ) -> None:
        if not name or not name.isprintable() or "{" in name or "}" in name:
            raise ValueError(f"name must be printable and without braces, not {clip(name)}")
        counts = {"max_retained": max_retained, "max_topics": max_topics, "max_in_flight": max_in_flight}
        for word, count in counts.items():
            check_count(word, count, 1)
        if not 0 < retain_seconds < math.inf:
            raise ValueError(f"retain_seconds must be a number above 0, not {clip(retain_seconds)}")
        self._link = RedisLink(
            url, tls=tls, connect_seconds=connect_seconds, ping_seconds=ping_seconds, max_in_flight=max_in_flight
        )
        self._bounds = (max_retained, max_topics, round(retain_seconds * 1e6))
        tag = f"{{{name}}}"
        self._hub, self._topics, self._streams = f"{tag}:hub", f"{tag}:topics", f"{tag}:stream:"
        # Channels are shared by all databases of a server, keys are not.
        self._control = f"{tag}:{self._link.address.db}:hub".encode()
        self._channels = f"{tag}:{self._link.address.db}:topic:".encode()
        self._sink: BroadcastSink | None = None
        self._followed: dict[str, int | None] = {}
        """Topic -> up to where all that was published on it has been seen; None before its first reader has."""
        self._epoch: str | None = None
        self._position: BroadcastPosition | None = None
        """Up to here everything on the followed topics has been delivered; None before the first connection."""
        self._known: Known | None = None
        """The newest message of this epoch that this process has published or delivered, and its topic."""
        self._live = False
        self._missing = trio.Event()
        """Set when something is to be read from the history."""
        self._dropped: BroadcastPosition | None = None
        """The last message that was pushed while the history was being read."""

    def __repr__(self) -> str:
        return f"<RedisEngine: {self._link.address}, {'connected' if self.connected else 'not connected'}>"

    @property
    def connected(self) -> bool:
        """True while there is a connection to Redis."""
        return self._link.connection is not None

    @asynccontextmanager
    async def open(self, sink: BroadcastSink) -> AsyncIterator[None]:
        """Stay connected while a block runs; it begins after the first attempt to connect, even a vain one.

        Raises:
            RuntimeError: it serves another hub.
        """
        if self._sink is not None:
            raise RuntimeError("this engine serves another hub")
        self._sink = sink
        self._epoch = self._position = self._known = None
        try:
            async with self._link.open(self._greet, self._read, self._catch_up):
                yield
        finally:
            self._sink = None

    def follow(self, topic: str) -> None:
        """Begin to deliver a topic; while Redis is away that is done when it is back."""
        self._followed[topic] = None
        self._link.tell(b"SUBSCRIBE", self._channels + topic.encode())

    def unfollow(self, topic: str) -> None:
        """End the delivery of a topic."""
        del self._followed[topic]
        self._link.tell(b"UNSUBSCRIBE", self._channels + topic.encode())

    async def publish(self, topic: str, data: str | bytes) -> str:
        """Publish a message through Redis and return its id.

        Cancellation: the message may have been published.
        Raises:
            ConnectError: Redis cannot be reached; without a connection that is tried once.
            DisconnectedError: the connection was lost before the answer; the message may have been published.
            TransportError: Redis refused, because it is full or read-only for example.
        """
        kind, content = ("s", data.encode()) if isinstance(data, str) else ("b", data)
        keys = (self._hub, self._topics, self._streams + topic)
        fresh = BroadcastPosition.begin().epoch
        arguments = (topic, self._channels + topic.encode(), self._streams, kind, content, fresh, *self._bounds)
        epoch, seq = await self._link.run_script(PUBLISH, keys, arguments)
        position = BroadcastPosition(epoch.decode(), int(seq))
        self._remember(topic, position)
        return str(position)

    async def replay(
        self, topics: Sequence[str], after: BroadcastPosition | None, max_messages: int
    ) -> BroadcastReplay:
        """Read the history of followed topics.

        Cancellation: atomic.
        Raises:
            ConnectError, DisconnectedError: Redis is away.
        """
        while True:
            connection = self._link.connection
            if connection is None:
                await trio.lowlevel.checkpoint()
                raise self._link.unreachable()
            epoch = self._epoch
            history = await self._read_history(connection, topics, after, max_messages)
            if self._epoch != epoch:
                continue  # it changed while the answer was on its way, which may be older than the change
            self._check_epoch(history.position.epoch)
            if history.complete:
                self._see(history.position.seq, topics, first=True)
            return history

    # -- the parts of the work on a connection -------------------------------------------------------------------------

    def _greet(self) -> None:
        self._live = False
        channels = [self._channels + topic.encode() for topic in self._followed]
        self._link.tell(b"SUBSCRIBE", self._control, *channels)

    async def _read(self, connection: BaseConnection) -> None:
        """Take what is pushed."""
        async with aclosing(connection.push_messages) as pushes:
            async for kind, channel, payload in pushes:
                if kind == b"message" and isinstance(channel, bytes) and isinstance(payload, bytes):
                    self._take(channel, payload)

    def _take(self, channel: bytes, payload: bytes) -> None:
        """Deliver a message if it is the next one; otherwise see to it that what is missing is read."""
        if channel == self._control:
            if payload.decode(errors="replace") != self._epoch:
                self._lose_track()
            return
        assert self._sink is not None
        topic = channel.removeprefix(self._channels).decode()
        arrived = _read_pushed(topic, payload)
        if arrived is None or topic not in self._followed:
            return
        position, before, message = arrived
        if not self._live or self._position is None:
            self._dropped = position
            return
        seen = self._followed[topic]
        reached = self._position.seq
        missed = seen is not None and before > seen
        if position.epoch != self._position.epoch or (missed and before > reached):
            self._dropped = position
            self._lose_track()
        elif position.seq > reached:
            if missed:  # newer ones of other topics have been delivered, so it is too late to put it in order
                self._sink.gap(Gap(topic, "expired"))
            self._deliver(position, message, recovered=False)

    async def _catch_up(self, connection: BaseConnection) -> None:
        """Read what was missed whenever something was, and deliver live as long as nothing is missing."""
        while True:
            self._live = False
            self._missing = trio.Event()
            while not await self._read_missing(connection):
                pass
            self._live = True
            self._link.is_back()
            assert self._sink is not None
            self._sink.resume()
            await self._missing.wait()

    async def _read_missing(self, connection: BaseConnection) -> bool:
        """Read one piece of what was missed, and return whether it was the last."""
        assert self._sink is not None
        self._dropped = None
        epoch = self._epoch
        topics = list(self._followed)
        history = await self._read_history(connection, topics, self._position, PAGE_MESSAGES, self._known)
        if self._epoch == epoch:
            self._check_epoch(history.position.epoch)
        if epoch not in (None, self._epoch):
            return False  # the subscribers have been told; what is retained is read in the next round
        for gap in history.gaps:
            if gap.why != "epoch":
                self._sink.gap(gap, recovered=True)
        for seq, message in history.messages:
            self._deliver(BroadcastPosition(history.position.epoch, seq), message, recovered=True)
        self._position = history.position
        self._see(history.position.seq, topics)
        return history.complete and self._is_newest(history.position)

    def _is_newest(self, position: BroadcastPosition) -> bool:
        """Tell whether nothing was pushed that is newer, or of an epoch that is."""
        dropped = self._dropped
        return dropped is None or (dropped.epoch == position.epoch and dropped.seq <= position.seq)

    async def _read_history(
        self,
        connection: BaseConnection,
        topics: Sequence[str],
        after: BroadcastPosition | None,
        max_messages: int,
        known: Known | None = None,
    ) -> BroadcastReplay:
        """Ask Redis for a piece of history, in the order of the hub."""
        if after is None:
            topics = ()  # nothing but the position of now
        known_topic, known_position = known or ("", NOWHERE)
        epoch, seq = after or NOWHERE
        keys = [self._hub, self._topics, self._streams + known_topic, *(self._streams + topic for topic in topics)]
        options = (BroadcastPosition.begin().epoch, epoch, seq, max_messages, self._control, *known_position)
        answer = await self._link.run_script(REPLAY, keys, (*options, *topics), over=connection)
        return _history_of(topics, *answer)

    # -- what is known -------------------------------------------------------------------------------------------------

    def _deliver(self, position: BroadcastPosition, message: Published, *, recovered: bool) -> None:
        assert self._sink is not None
        self._position = position
        self._see(position.seq, (message.topic,))
        self._remember(message.topic, position)
        self._sink.deliver(position.seq, message, recovered=recovered)

    def _see(self, seq: int, topics: Sequence[str], *, first: bool = False) -> None:
        """Note up to where the messages of topics have been seen; ``first`` for topics of which nothing is known."""
        for topic in topics:
            if topic in self._followed and (self._followed[topic] is None) is first:
                self._followed[topic] = seq

    def _lose_track(self) -> None:
        """Deliver nothing more before what is missing has been read."""
        self._live = False
        self._missing.set()

    def _remember(self, topic: str, position: BroadcastPosition) -> None:
        if position.epoch == self._epoch and (self._known is None or position.seq > self._known[1].seq):
            self._known = topic, position

    def _check_epoch(self, epoch: str) -> None:
        """Begin anew when the store does."""
        if self._epoch is not None and self._epoch != epoch:
            assert self._sink is not None
            self._link.say(logging.WARNING, "Redis at %s has lost messages, subscribers are told")
            self._position = NOWHERE
            self._known = None
            self._lose_track()
            self._sink.renew(epoch)
        self._epoch = epoch


def _read_message(topic: str, position: BroadcastPosition, kind: bytes, data: bytes) -> Published:
    """Read a message as PUBLISH wrote it; raise ValueError for what is not ours, or damaged."""
    if kind not in {b"s", b"b"}:
        raise ValueError(kind)
    return Published(str(position), topic, data.decode() if kind == b"s" else data)


def _read_pushed(topic: str, payload: bytes) -> _Arrived | None:
    """Read what was pushed; None for what is no message."""
    head, _, data = payload.partition(b"\n")
    try:
        epoch, seq, before, kind = head.split(b" ")
        position = BroadcastPosition(epoch.decode("ascii"), int(seq))
        return _Arrived(position, int(before), _read_message(topic, position, kind, data))
    except ValueError:
        return None


def _history_of(
    topics: Sequence[str],
    raw_epoch: bytes,
    reached: bytes,
    complete: int,
    foreign: int,
    expired: Sequence[int],
    found: Sequence[tuple[int, bytes, bytes, bytes]],
) -> BroadcastReplay:
    """Read the answer of REPLAY, which counts topics from 1. What cannot be read is missing, and is told as such."""
    epoch = raw_epoch.decode()
    gaps = {topics[number - 1]: Gap(topics[number - 1], "expired") for number in expired}
    messages: list[tuple[int, Published]] = []
    for number, raw_seq, kind, data in found:
        topic, position = topics[number - 1], BroadcastPosition(epoch, int(raw_seq))
        try:
            messages.append((position.seq, _read_message(topic, position, kind, data)))
        except ValueError:
            gaps[topic] = Gap(topic, "expired")
    if foreign:
        gaps = {topic: Gap(topic, "epoch") for topic in topics}
    return BroadcastReplay(list(gaps.values()), messages, BroadcastPosition(epoch, int(reached)), bool(complete))
