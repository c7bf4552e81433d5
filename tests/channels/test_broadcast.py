"""A hub in memory: who gets what, in which order, and what a reader that does not keep up is told.

What holds for every engine is in ``tests/integrations/test_broadcast_engines.py``; here time is virtual, and the engine
is the one of memory.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from triohttp import Broadcast, BroadcastPosition, Gap, MemoryEngine, Published, Subscription
from triohttp.errors import SlowReaderError
from triohttp.testing import SweepRun, cancel_sweep


async def receive_waiting(subscription: Subscription) -> list[Published | Gap]:
    """Return all that can be received without waiting for another message."""
    items: list[Published | Gap] = []
    with trio.move_on_after(0.01):
        while True:
            items.append(await subscription.receive())
    return items


def data_of(items: list[Published | Gap]) -> list[str | bytes]:
    return [item.data if isinstance(item, Published) else f"({item.topic}: {item.why})" for item in items]


async def publish_numbers(hub: Broadcast, numbers: range, *topics: str) -> list[str]:
    """Publish numbers, on one topic after the other; return the ids."""
    return [await hub.publish(topics[number % len(topics)], str(number)) for number in numbers]


async def test_a_reader_that_stopped_reading_holds_up_nobody(autojump_clock: trio.abc.Clock) -> None:
    """Three clients of a room, one of them never reads: the other two get a thousand messages, all of them."""
    async with Broadcast() as hub, trio.open_nursery() as nursery, hub.subscribe("room") as silent:
        received: dict[str, list[str | bytes]] = {"alice": [], "bob": []}

        async def listen(name: str, subscription: Subscription) -> None:
            async with subscription:
                async for item in subscription:
                    assert isinstance(item, Published)
                    received[name].append(item.data)

        for name in received:
            nursery.start_soon(listen, name, hub.subscribe("room"))
        await wait_all_tasks_blocked()
        await publish_numbers(hub, range(1000), "room")
        await wait_all_tasks_blocked()
        expected = [str(number) for number in range(1000)]
        assert received == {"alice": expected, "bob": expected}
        assert silent.pending <= 65
        nursery.cancel_scope.cancel()


async def test_a_gap_stands_where_messages_were_dropped(autojump_clock: trio.abc.Clock) -> None:
    """``gap``: of a full buffer the oldest half is dropped, and one mark a topic says so before what is left."""
    async with Broadcast() as hub, hub.subscribe("a", "b", max_pending=4) as subscription:
        await publish_numbers(hub, range(4), "a", "b")
        assert subscription.pending == 4
        await publish_numbers(hub, range(4, 5), "a")
        assert hub.statistics().dropped == 2
        assert data_of(await receive_waiting(subscription)) == ["(a: slow)", "(b: slow)", "2", "3", "4"]
        await publish_numbers(hub, range(100), "a")
        items = await receive_waiting(subscription)
        assert items[0] == Gap("a", "slow")
        assert data_of(items[1:]) in (["97", "98", "99"], ["98", "99"], ["96", "97", "98", "99"])
        await publish_numbers(hub, range(1), "a")
        assert data_of(await receive_waiting(subscription)) == ["0"]


async def test_the_newest_of_a_topic_may_be_enough(autojump_clock: trio.abc.Clock) -> None:
    """``latest``: the newest message of each topic waits, in the order of the hub and without a gap."""
    async with Broadcast() as hub, hub.subscribe("a", "b", overflow="latest") as subscription:
        await publish_numbers(hub, range(5), "a", "b")
        assert hub.statistics().dropped == 3
        assert data_of(await receive_waiting(subscription)) == ["3", "4"]
        await publish_numbers(hub, range(10), "b")
        await publish_numbers(hub, range(10, 11), "a")
        assert data_of(await receive_waiting(subscription)) == ["9", "10"]


@pytest.mark.parametrize("max_pending", [1, 64])
async def test_two_of_each_topic_wait_at_most(autojump_clock: trio.abc.Clock, max_pending: int) -> None:
    """``latest`` is bounded by the topics: what is being handed out, and for each topic what is newer than that."""
    topics = [f"topic {number}" for number in range(100)]
    async with (
        Broadcast() as hub,
        hub.subscribe(*topics, max_pending=max_pending, overflow="latest") as subscription,
    ):
        await publish_numbers(hub, range(500), *topics)
        assert subscription.pending == 100
        assert data_of([await subscription.receive()]) == ["400"]
        await publish_numbers(hub, range(500, 1000), *topics)
        assert subscription.pending == 199
        expected = [*range(401, 500), *range(900, 1000)]
        assert data_of(await receive_waiting(subscription)) == [str(number) for number in expected]


async def test_the_busiest_topic_is_heard(autojump_clock: trio.abc.Clock) -> None:
    """``latest``: a topic on which more is published than the reader takes is handed out in its turn all the same."""
    async with Broadcast() as hub, hub.subscribe("busy", "quiet", overflow="latest") as subscription:
        received: list[str] = []
        for _ in range(10):
            await hub.publish("quiet", "")
            for _ in range(5):
                await hub.publish("busy", "")
            received.append((await subscription.receive()).topic)
        assert received == ["quiet", "busy"] * 5


async def test_a_history_of_the_newest_is_no_longer_than_its_topics(autojump_clock: trio.abc.Clock) -> None:
    """``latest``: a reader that comes back gets of each piece what is newest, and then what is published now."""
    async with Broadcast() as hub:
        first = await hub.publish("a", "first")
        await publish_numbers(hub, range(20), "a", "b")
        async with hub.subscribe("a", "b", after=first, max_pending=10, overflow="latest") as subscription:
            assert data_of(await receive_waiting(subscription)) == ["8", "9", "18", "19"]
            await publish_numbers(hub, range(20, 23), "a", "b")
            assert data_of(await receive_waiting(subscription)) == ["21", "22"]


def publishing_seconds(topics: list[str]) -> float:
    """How long it takes to publish twice on each of the topics, to one reader who wants only the newest."""

    async def main() -> float:
        async with Broadcast() as hub, hub.subscribe(*topics, overflow="latest"):
            start = time.thread_time()
            await publish_numbers(hub, range(2 * len(topics)), *topics)
            return time.thread_time() - start

    return trio.run(main)


def test_publishing_costs_the_same_with_many_topics() -> None:
    """``latest``: replacing a message does not look at those of all other topics."""
    few = min(publishing_seconds([f"topic {number}" for number in range(100)]) for _ in range(5))
    many = min(publishing_seconds([f"topic {number}" for number in range(2000)]) for _ in range(2))
    assert many < 20 * few * 4


async def test_a_slow_reader_may_be_given_up(autojump_clock: trio.abc.Clock) -> None:
    """``close``: the next receive raises, and so does every one after it; nothing is kept for that reader any more."""
    async with Broadcast() as hub, hub.subscribe("a", max_pending=3, overflow="close") as subscription:
        await publish_numbers(hub, range(3), "a")
        assert data_of([await subscription.receive()]) == ["0"]
        await publish_numbers(hub, range(3, 50), "a")
        assert subscription.pending == 0
        for _ in range(2):
            with pytest.raises(SlowReaderError) as caught:
                await subscription.receive()
            assert (caught.value.limit, caught.value.bound) == ("max_pending", 3)


async def test_a_buffer_of_one_works(autojump_clock: trio.abc.Clock) -> None:
    """The smallest bound: a gap and the newest, or the newest alone."""
    async with (
        Broadcast() as hub,
        hub.subscribe("a", max_pending=1) as gaps,
        hub.subscribe("a", max_pending=1, overflow="latest") as latest,
    ):
        await publish_numbers(hub, range(5), "a")
        assert data_of(await receive_waiting(gaps)) == ["(a: slow)", "4"]
        assert data_of(await receive_waiting(latest)) == ["4"]


async def test_memory_stays_flat_when_a_reader_does_not_read(autojump_clock: trio.abc.Clock) -> None:
    """What a reader that never reads costs is its ``max_pending`` messages, however many are published."""
    engine = MemoryEngine(max_retained=10)
    async with Broadcast(engine) as hub:
        for overflow in ("gap", "latest", "close"):
            async with hub.subscribe("a", overflow=overflow) as subscription:

                async def publish(count: int) -> int:
                    for _ in range(count):
                        await hub.publish("a", bytes(1000))
                    return tracemalloc.get_traced_memory()[0]

                tracemalloc.start()
                try:
                    before = await publish(200)
                    after = await publish(2000)
                finally:
                    tracemalloc.stop()
                assert after - before < 70 * 1500  # a buffer may be anywhere between empty and full
                assert subscription.pending <= 65


async def test_what_is_retained_is_bounded_by_count(autojump_clock: trio.abc.Clock) -> None:
    """``max_retained``: a reader that comes back from before the oldest gets a gap and what there is."""
    async with Broadcast(MemoryEngine(max_retained=3)) as hub:
        ids = await publish_numbers(hub, range(6), "a")
        async with hub.subscribe("a", after=ids[2]) as subscription:
            assert data_of(await receive_waiting(subscription)) == ["3", "4", "5"]
        async with hub.subscribe("a", after=ids[1]) as subscription:
            assert data_of(await receive_waiting(subscription)) == ["(a: expired)", "3", "4", "5"]


async def test_what_is_retained_is_bounded_by_size(autojump_clock: trio.abc.Clock) -> None:
    """``max_retained_bytes``: the oldest of all topics goes first, and a message counts 400 bytes beside its data."""
    engine = MemoryEngine(max_retained_bytes=3000)
    async with Broadcast(engine) as hub:
        first = await hub.publish("a", "å" * 300)  # 600 bytes
        assert engine.retained_bytes == 1000
        second = await hub.publish("b", b"x" * 600)
        await hub.publish("a", "x" * 600)
        assert engine.retained_bytes == 3000
        await hub.publish("b", "new")
        assert engine.retained_bytes == 2403
        async with hub.subscribe("a", "b", after=first) as subscription:
            assert [item.topic for item in await receive_waiting(subscription)] == ["b", "a", "b"]
        await hub.publish("b", bytes(5000))  # larger than all that may be retained
        assert engine.retained_bytes == 0
        async with hub.subscribe("a", "b", after=second) as subscription:
            assert data_of(await receive_waiting(subscription)) == ["(a: expired)", "(b: expired)"]


async def test_the_topics_that_are_retained_are_bounded(autojump_clock: trio.abc.Clock) -> None:
    """``max_topics``: the topic that has been silent for longest is forgotten, and a reader of it is told."""
    async with Broadcast(MemoryEngine(max_topics=2)) as hub:
        start = await hub.publish("a", "1")
        await hub.publish("b", "2")
        await hub.publish("a", "3")
        last = await hub.publish("c", "4")
        async with hub.subscribe("a", "b", "c", after=start) as subscription:
            assert data_of(await receive_waiting(subscription)) == ["(b: expired)", "3", "4"]
        async with hub.subscribe("a", "b", "c", after=last) as subscription:
            assert await receive_waiting(subscription) == []


async def test_nothing_need_be_retained(autojump_clock: trio.abc.Clock) -> None:
    """``max_retained=0``: live readers get everything, those that come back a gap."""
    async with Broadcast(MemoryEngine(max_retained=0)) as hub, hub.subscribe("a") as live:
        first = await hub.publish("a", "1")
        last = await hub.publish("a", "2")
        assert data_of(await receive_waiting(live)) == ["1", "2"]
        async with hub.subscribe("a", after=first) as subscription:
            assert data_of(await receive_waiting(subscription)) == ["(a: expired)"]
        async with hub.subscribe("a", after=last) as subscription:
            assert await receive_waiting(subscription) == []


async def test_the_hub_outlives_its_openings(autojump_clock: trio.abc.Clock) -> None:
    """A hub that was closed can be opened again; what was retained is there, and old subscriptions have ended."""
    hub = Broadcast()
    async with hub:
        first = await hub.publish("a", "1")
        old = hub.subscribe("a")
        await old.__aenter__()
        await hub.publish("a", "2")
    async with hub, hub.subscribe("a", after=first) as subscription:
        assert (await old.receive()) == (await subscription.receive())
        with pytest.raises(trio.EndOfChannel):
            await old.receive()
        await old.aclose()
        await hub.publish("a", "3")
        assert data_of(await receive_waiting(subscription)) == ["3"]
        with pytest.raises(RuntimeError, match="open already"):
            await hub.__aenter__()


async def test_an_engine_serves_one_hub() -> None:
    """Two hubs on one engine would each take the other's messages away."""
    engine = MemoryEngine()
    async with Broadcast(engine):
        with pytest.raises(RuntimeError, match="another hub"):
            async with Broadcast(engine):
                raise AssertionError


async def test_a_closed_hub_refuses(autojump_clock: trio.abc.Clock) -> None:
    """Outside of its block a hub neither publishes nor subscribes, and its readers come to their end."""
    hub = Broadcast()
    with pytest.raises(trio.ClosedResourceError):
        await hub.publish("a", "1")
    with pytest.raises(trio.ClosedResourceError):
        hub.subscribe("a")
    ended: list[Published | Gap | None] = []

    async def read(subscription: Subscription) -> None:
        async with subscription:
            ended.extend([item async for item in subscription])
        ended.append(None)

    async with trio.open_nursery() as nursery:
        async with hub:
            nursery.start_soon(read, hub.subscribe("a"))
            late = hub.subscribe("a")
            await wait_all_tasks_blocked()
            await hub.publish("a", "1")
        with pytest.raises(trio.ClosedResourceError):
            await late.__aenter__()
    assert ended.pop() is None
    assert [item.data for item in ended if isinstance(item, Published)] == ["1"]
    assert hub.statistics().subscriptions == 0


async def test_what_a_subscription_says_at_the_wrong_time() -> None:
    """Receiving needs an open subscription, one task at a time, and a subscription is opened once."""
    async with Broadcast() as hub:
        subscription = hub.subscribe("a")
        with pytest.raises(trio.ClosedResourceError):
            await subscription.receive()
        async with trio.open_nursery() as nursery:

            async def wait_for_the_end() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await subscription.receive()

            async with subscription:
                nursery.start_soon(wait_for_the_end)
                await wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await subscription.receive()
        with pytest.raises(trio.ClosedResourceError):
            await subscription.receive()
        with pytest.raises(RuntimeError):
            await subscription.__aenter__()
        assert hub.statistics().topics == 0


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        (lambda hub: hub.subscribe(), ValueError),
        (lambda hub: hub.subscribe(""), ValueError),
        (lambda hub: hub.subscribe("two\nlines"), ValueError),
        (lambda hub: hub.subscribe("\ud800"), ValueError),
        (lambda hub: hub.subscribe(b"a"), TypeError),
        (lambda hub: hub.subscribe("a", max_pending=0), ValueError),
        (lambda hub: hub.subscribe("a", max_pending=True), ValueError),
        (lambda hub: hub.subscribe("a", overflow="block"), ValueError),
        (lambda _: MemoryEngine(max_retained=-1), ValueError),
        (lambda _: MemoryEngine(max_topics=0), ValueError),
        (lambda _: MemoryEngine(max_retained_bytes=1.5), ValueError),  # type: ignore[arg-type]  # the mistake
    ],
)
async def test_mistakes_are_told_at_once(mistake: Callable[[Any], object], error: type[Exception]) -> None:
    """What can never work is refused where it is written."""
    async with Broadcast() as hub:
        with pytest.raises(error):
            mistake(hub)


async def test_only_text_and_bytes_are_published() -> None:
    """Other values need an encoding, and that is the program's choice."""
    async with Broadcast() as hub:
        with pytest.raises(TypeError, match="dict"):
            await hub.publish("a", {"a": 1})  # type: ignore[arg-type]  # the mistake
        with pytest.raises(ValueError, match="surrogates"):
            await hub.publish("a", "\ud800")


def test_an_id_reads_back() -> None:
    """An id is what its position is as text; anything else is a position of no epoch."""
    position = BroadcastPosition("0a9Z", 17)
    assert BroadcastPosition.parse(str(position)) == position
    first = BroadcastPosition.begin()
    assert BroadcastPosition.parse(str(first)) == first != BroadcastPosition.begin()
    malformed = ["", "1", ".1", "a.", "a.b", "a.-1", "a.1 ", "a.1\n", "a.٣", "é.1", "a.1.1"]
    for text in (*malformed, "a" * 33 + ".1", "a." + "9" * 17):
        assert BroadcastPosition.parse(text) == BroadcastPosition("", 0)


def test_bytes_can_be_read_as_text() -> None:
    """``text`` is what an event stream can carry, whatever was published."""
    assert Published("e.1", "a", "å").text == "å"
    assert Published("e.1", "a", "å".encode()).text == "å"
    assert Published("e.1", "a", b"\xff").text == "\ufffd"


@pytest.mark.sweep
def test_receiving_can_be_cancelled_anywhere() -> None:
    """A cancelled receive has taken nothing: the next one returns what comes next, live and from the history."""

    async def scenario(sweep: SweepRun) -> None:
        async with Broadcast() as hub:
            first = await hub.publish("a", "0")
            await publish_numbers(hub, range(1, 6), "a")
            async with hub.subscribe("a", after=first, max_pending=2) as subscription, trio.open_nursery() as nursery:
                received: list[Published | Gap] = []

                async def publish_more() -> None:
                    for number in range(6, 9):
                        await trio.sleep(1)
                        await hub.publish("a", str(number))

                nursery.start_soon(publish_more)
                with sweep.block(every_task=True):
                    while len(received) < 8:
                        received.append(await subscription.receive())
                while len(received) < 8:
                    received.append(await subscription.receive())
                assert data_of(received) == [str(number) for number in range(1, 9)]

    cancel_sweep(scenario)


@pytest.mark.sweep
def test_subscribing_can_be_cancelled_anywhere() -> None:
    """A subscription that was cancelled while it was opened, used or closed leaves nothing in the hub."""

    async def scenario(sweep: SweepRun) -> None:
        async with Broadcast() as hub:
            first = await hub.publish("a", "0")
            await publish_numbers(hub, range(1, 6), "a")
            with sweep.block():
                async with hub.subscribe("a", "b", after=first, max_pending=2) as subscription:
                    for _ in range(5):
                        await subscription.receive()
                    await hub.publish("b", "last")
                    await subscription.receive()
            assert hub.statistics().subscriptions == hub.statistics().topics == 0

    cancel_sweep(scenario)


@pytest.mark.sweep
def test_publishing_can_be_cancelled_anywhere() -> None:
    """In memory a cancelled publish has published nothing, and a finished one everything."""

    async def scenario(sweep: SweepRun) -> None:
        async with Broadcast() as hub, hub.subscribe("a") as subscription:
            published = 0
            with sweep.block():
                while published < 3:
                    await hub.publish("a", str(published))
                    published += 1
            assert data_of(await receive_waiting(subscription)) == [str(number) for number in range(published)]

    cancel_sweep(scenario)


@pytest.mark.sweep
def test_a_hub_can_be_cancelled_anywhere() -> None:
    """A cancelled hub leaves no task, and can be opened again."""

    async def scenario(sweep: SweepRun) -> None:
        hub = Broadcast()
        with sweep.block():
            async with hub, hub.subscribe("a") as subscription:
                await hub.publish("a", "1")
                await subscription.receive()
        async with hub, hub.subscribe("a") as subscription:
            await hub.publish("a", "2")
            assert data_of(await receive_waiting(subscription)) == ["2"]

    cancel_sweep(scenario)
