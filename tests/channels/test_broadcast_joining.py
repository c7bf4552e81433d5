"""How history and what is published now are joined, with an engine whose store is far away, and sometimes gone.

The engine here keeps to the protocol as one over a network would: a history arrives some time after it was read, and a
message some time after it was published; a store that is away loses what it would have delivered, and makes up for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import pytest
import trio
from broadcast_checks import check_received, receive_count, receive_until
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from triohttp import Broadcast, BroadcastPosition, BroadcastReplay, BroadcastSink, Gap, MemoryEngine, Published
from triohttp.errors import ConnectError, SlowReaderError


class Inbox:
    """The sink of the store: what it delivers is on its way from here on."""

    def __init__(self, engine: FarEngine) -> None:
        self._engine = engine

    def deliver(self, seq: int, message: Published, *, recovered: bool = False) -> None:
        """Send a message on its way, unless the way is cut."""
        if not self._engine.away:
            self._engine.on_the_way.send_nowait((seq, message))

    def gap(self, gap: Gap, *, recovered: bool = False) -> None:
        """The store in memory tells none."""

    def renew(self, epoch: str) -> None:
        """Nor this."""

    def resume(self) -> None:
        """Nor this."""


class FarEngine:
    """A store in memory, at the other end of a slow line."""

    def __init__(self, *, read_seconds: float = 1.0, line_seconds: float = 1.0, max_retained: int = 1000) -> None:
        self.store = MemoryEngine(max_retained=max_retained)
        self.away = False
        self.reads = 0
        self._read_seconds = read_seconds
        self._line_seconds = line_seconds
        self._delivered = BroadcastPosition("", 0)
        self._topics: set[str] = set()
        self.on_the_way, self._arriving = trio.open_memory_channel[tuple[int, Published]](1000)

    @asynccontextmanager
    async def open(self, sink: BroadcastSink) -> AsyncIterator[None]:
        """Deliver while a block runs."""
        self.sink = sink
        async with self.store.open(Inbox(self)), trio.open_nursery() as nursery:
            self._delivered = (await self.store.replay((), None, 1)).position
            nursery.start_soon(self._deliver)
            yield
            nursery.cancel_scope.cancel()

    async def _deliver(self) -> None:
        async for seq, message in self._arriving:
            await trio.sleep(self._line_seconds)
            self._delivered = BroadcastPosition(self._delivered.epoch, seq)
            self.sink.deliver(seq, message)

    async def publish(self, topic: str, data: str | bytes) -> str:
        """Publish at the far end, where others publish too."""
        return await self.store.publish(topic, data)

    def follow(self, topic: str) -> None:
        """Begin to deliver."""
        self._topics.add(topic)
        self.store.follow(topic)

    def unfollow(self, topic: str) -> None:
        """End it."""
        self._topics.discard(topic)
        self.store.unfollow(topic)

    async def replay(
        self, topics: Sequence[str], after: BroadcastPosition | None, max_messages: int
    ) -> BroadcastReplay:
        """Read, and hand over some time later; or find out that there is nobody to ask."""
        if self.away:
            await trio.sleep(self._read_seconds)
            raise ConnectError("away")
        self.reads += 1
        history = await self.store.replay(topics, after, max_messages)
        await trio.sleep(self._read_seconds)
        return history

    async def come_back(self) -> None:
        """Deliver what was missed, and go on."""
        self.away = False
        history = await self.store.replay(sorted(self._topics), self._delivered, 1000)
        for seq, message in history.messages:
            self.sink.deliver(seq, message, recovered=True)
        self._delivered = history.position
        self.sink.resume()


def data_of(items: list[Published | Gap]) -> list[str]:
    return [item.text if isinstance(item, Published) else f"({item.topic}: {item.why})" for item in items]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])), max_size=30),
    st.lists(st.tuples(st.floats(0, 10), st.sampled_from(["a", "b", "ab"]), st.integers(0, 5)), max_size=3),
    st.floats(0, 2),
    st.floats(0, 2),
    st.integers(1, 4),
)
def test_history_and_live_are_joined_exactly(
    messages: list[tuple[str, float]],
    readers: list[tuple[float, str, int]],
    read_seconds: float,
    line_seconds: float,
    max_pending: int,
) -> None:
    """A reader that comes back while others publish misses nothing and gets nothing twice, whatever is late."""

    async def main() -> None:
        published: list[tuple[str, str]] = []
        engine = FarEngine(read_seconds=read_seconds, line_seconds=line_seconds)

        async def read(hub: Broadcast, begin: float, topics: str, back: int) -> None:
            await trio.sleep(begin)
            start = max(1, len(published) - back)
            after = published[start - 1][0] if published else "none.1"
            subscription = hub.subscribe(*topics, after=after, max_pending=max_pending)
            async with subscription:
                items = await receive_until(subscription, f"last of {topics[-1]}")
            check_received(published, items, [*topics], start if published else 0)

        async with Broadcast(engine) as hub, trio.open_nursery() as nursery:
            for begin, topics, back in readers:
                nursery.start_soon(read, hub, begin, topics, back)
            for topic, pause in messages:
                identity = await hub.publish(topic, str(len(published)))
                published += [(identity, topic)]
                await trio.sleep(pause)
            await trio.sleep(20)
            for topic in "ab":
                published.append((await hub.publish(topic, f"last of {topic}"), topic))

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_what_is_published_while_the_history_is_on_its_way_comes_too(autojump_clock: trio.abc.Clock) -> None:
    """A message that arrives before an older history does is not lost between the two."""
    async with Broadcast(FarEngine(read_seconds=2, line_seconds=0.5)) as hub, trio.open_nursery() as nursery:
        first = await hub.publish("a", "0")
        await hub.publish("a", "1")
        subscription = hub.subscribe("a", after=first)

        async def publish_meanwhile() -> None:
            await trio.sleep(1)
            await hub.publish("a", "2")

        nursery.start_soon(publish_meanwhile)
        async with subscription:
            assert data_of(await receive_count(subscription, 1)) == ["1"]
            assert subscription.behind
            assert data_of(await receive_count(subscription, 1)) == ["2"]
            assert not subscription.behind


async def test_a_subscription_counts_once_it_is_open(autojump_clock: trio.abc.Clock) -> None:
    """Who waits until somebody has subscribed, and then publishes, is heard; before, nothing can be received."""
    async with Broadcast(FarEngine(read_seconds=2)) as hub, trio.open_nursery() as nursery:
        subscription = hub.subscribe("a")
        received: list[Published | Gap] = []

        async def read() -> None:
            async with subscription:
                received.append(await subscription.receive())

        nursery.start_soon(read)
        await trio.sleep(1)
        with pytest.raises(trio.ClosedResourceError):
            await subscription.receive()
        while not hub.statistics().subscriptions:
            await trio.sleep(0.1)
        await hub.publish("a", "1")
        await trio.sleep(5)
        assert data_of(received) == ["1"]


async def test_a_store_may_be_back_before_its_absence_was_noticed(autojump_clock: trio.abc.Clock) -> None:
    """A reader whose question fails after the store came back asks again, and does not wait for the next time."""
    engine = FarEngine(read_seconds=2)
    async with Broadcast(engine) as hub, trio.open_nursery() as nursery:
        first = await hub.publish("a", "0")
        await hub.publish("a", "1")
        engine.away = True
        async with hub.subscribe("a", after=first) as subscription:

            async def come_back_meanwhile() -> None:
                await trio.sleep(1)
                await engine.come_back()

            nursery.start_soon(come_back_meanwhile)
            with trio.fail_after(10):
                assert data_of(await receive_count(subscription, 1)) == ["1"]


async def test_a_piece_of_history_is_read_at_the_readers_pace(autojump_clock: trio.abc.Clock) -> None:
    """A reader that comes back needs no room for what it missed: it is read in pieces of ``max_pending``."""
    engine = FarEngine()
    async with Broadcast(engine) as hub:
        first = await hub.publish("a", "0")
        for number in range(1, 101):
            await hub.publish("a", str(number))
        async with hub.subscribe("a", after=first, max_pending=10) as subscription:
            assert subscription.pending == 10
            assert subscription.behind
            assert hub.statistics().behind == 1
            items = await receive_until(subscription, "100")
            assert data_of(items) == [str(number) for number in range(1, 101)]
            assert engine.reads == 10


@pytest.mark.parametrize("overflow", ["gap", "close"])
@pytest.mark.parametrize("missed", [1, 4, 7, 8, 9, 16])
async def test_a_reader_that_has_just_come_back_is_not_slow(
    autojump_clock: trio.abc.Clock, overflow: Literal["gap", "close"], missed: int
) -> None:
    """However much of its buffer the history fills, a message before its first receive costs it nothing."""
    async with Broadcast(FarEngine()) as hub:
        first = await hub.publish("a", "first")
        for number in range(missed):
            await hub.publish("a", str(number))
        async with hub.subscribe("a", after=first, max_pending=8, overflow=overflow) as subscription:
            for number in range(missed, missed + 4):
                await hub.publish("a", str(number))
            await trio.sleep(5)
            items = await receive_until(subscription, str(missed + 3))
            assert data_of(items) == [str(number) for number in range(missed + 4)]


async def test_what_expires_while_a_reader_is_behind_is_told(autojump_clock: trio.abc.Clock) -> None:
    """A reader that takes its history more slowly than it is forgotten gets a gap where it was overtaken."""
    async with Broadcast(FarEngine(max_retained=5)) as hub:
        first = await hub.publish("a", "0")
        for number in range(1, 5):
            await hub.publish("a", str(number))
        async with hub.subscribe("a", after=first, max_pending=2) as subscription:
            for number in range(5, 11):
                await hub.publish("a", str(number))
            items = await receive_until(subscription, "10")
            assert data_of(items) == ["1", "2", "(a: expired)", "6", "7", "8", "9", "10"]


async def test_readers_stay_while_the_store_is_away(autojump_clock: trio.abc.Clock) -> None:
    """What was published while the store could not be reached comes when it can; nobody is thrown out."""
    engine = FarEngine()
    async with Broadcast(engine) as hub, hub.subscribe("a") as subscription:
        await hub.publish("a", "before")
        assert data_of(await receive_count(subscription, 1)) == ["before"]
        engine.away = True
        for number in range(3):
            await hub.publish("a", str(number))
        with trio.move_on_after(10) as scope:
            await subscription.receive()
        assert scope.cancelled_caught
        await engine.come_back()
        assert data_of(await receive_count(subscription, 3)) == ["0", "1", "2"]


async def test_catching_up_makes_nobody_slow(autojump_clock: trio.abc.Clock) -> None:
    """What comes all at once after the store was away counts against no reader's buffer, if buffers count."""
    engine = FarEngine()
    async with (
        Broadcast(engine) as hub,
        hub.subscribe("a", max_pending=4) as gap,
        hub.subscribe("a", max_pending=4, overflow="close") as close,
    ):
        engine.away = True
        for number in range(20):
            await hub.publish("a", str(number))
        await engine.come_back()
        await hub.publish("a", "live")
        for subscription in (gap, close):
            assert data_of(await receive_until(subscription, "live")) == [*map(str, range(20)), "live"]
        assert hub.statistics().dropped == 0


async def test_a_reader_may_come_while_the_store_is_away(autojump_clock: trio.abc.Clock) -> None:
    """With an id it gets all since then; without one it is told that nobody knows what it missed."""
    engine = FarEngine()
    async with Broadcast(engine) as hub:
        first = await hub.publish("a", "0")
        engine.away = True
        await hub.publish("a", "1")
        async with (
            hub.subscribe("a", after=first) as returning,
            hub.subscribe("a") as new,
            trio.open_nursery() as nursery,
        ):
            received: list[Published | Gap] = []

            async def read() -> None:
                received.extend(await receive_count(new, 2))

            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await hub.publish("a", "2")
            assert received == []
            await engine.come_back()
            assert data_of(await receive_count(returning, 2)) == ["1", "2"]
            await trio.sleep(5)
            await hub.publish("a", "3")
            assert data_of(await receive_count(returning, 1)) == ["3"]
        assert data_of(received) == ["(a: epoch)", "3"]


async def test_a_store_that_begins_anew_is_told_once(autojump_clock: trio.abc.Clock) -> None:
    """Each topic gets one gap, in its place, and what the store retains comes after it."""
    engine = FarEngine()
    async with Broadcast(engine) as hub, hub.subscribe("a", "b") as subscription:
        await hub.publish("a", "old")
        await trio.sleep(5)
        engine.sink.renew("new")
        engine.sink.renew("new")
        engine.sink.deliver(1, Published("new.1", "a", "1"), recovered=True)
        engine.sink.deliver(1, Published("new.1", "a", "1"))
        engine.sink.deliver(2, Published("new.2", "b", "2"))
        assert data_of(await receive_count(subscription, 5)) == ["old", "(a: epoch)", "(b: epoch)", "1", "2"]


async def test_a_gap_that_is_dropped_is_still_told(autojump_clock: trio.abc.Clock) -> None:
    """A full buffer drops messages and marks; the reason of a mark that says more than ``slow`` is kept."""
    engine = FarEngine()
    async with Broadcast(engine) as hub, hub.subscribe("a", "b", max_pending=4) as subscription:
        engine.sink.gap(Gap("a", "expired"))
        for number in range(1, 5):
            engine.sink.deliver(number, Published(f"e.{number}", "b", str(number)))
        assert data_of(await receive_count(subscription, 5)) == ["(a: expired)", "(b: slow)", "2", "3", "4"]


async def test_gaps_alone_can_fill_a_buffer(autojump_clock: trio.abc.Clock) -> None:
    """Marks count too: with ``close`` a reader that takes none of them is given up as any other."""
    engine = FarEngine()
    async with Broadcast(engine) as hub, hub.subscribe("a", max_pending=2, overflow="close") as subscription:
        for _ in range(3):
            engine.sink.gap(Gap("a", "expired"))
        with pytest.raises(SlowReaderError):
            await subscription.receive()


async def test_a_hub_that_closes_ends_readers_that_wait_for_the_store(autojump_clock: trio.abc.Clock) -> None:
    """Nobody waits for a store to come back whose hub is gone."""
    engine = FarEngine()
    ended = trio.Event()
    hub = Broadcast(engine)

    async def read() -> None:
        async with hub.subscribe("a", after="any.1") as subscription:
            async for _ in subscription:
                raise AssertionError
        ended.set()

    async with trio.open_nursery() as nursery:
        async with hub:
            engine.away = True
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
        await ended.wait()
