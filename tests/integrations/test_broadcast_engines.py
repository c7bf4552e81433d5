"""What a hub promises whatever its engine: the same tests for each, in memory and over a redis-server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio
from broadcast_checks import check_received, receive_count, receive_until

from triohttp import Broadcast, BroadcastPosition, Gap, MemoryEngine, Published
from triohttp.errors import SlowReaderError

if TYPE_CHECKING:
    from conftest import RedisServer

MakeHub: TypeAlias = Callable[..., Broadcast]

names = count()


@pytest.fixture(params=["memory", "redis"])
def make_hub(request: pytest.FixtureRequest) -> MakeHub:
    """What makes a hub with the options that every engine has; each hub has a store of its own."""
    if request.param == "memory":
        return lambda **options: Broadcast(MemoryEngine(**options))
    from triohttp.integrations.redis import RedisEngine

    server: RedisServer = request.getfixturevalue("standing_redis")
    return lambda **options: Broadcast(RedisEngine(server.url, name=f"hub {next(names)}", **options))


def data_of(items: list[Published | Gap]) -> list[str | bytes]:
    return [item.data if isinstance(item, Published) else f"({item.topic}: {item.why})" for item in items]


async def publish_numbers(hub: Broadcast, numbers: range, *topics: str) -> list[str]:
    return [await hub.publish(topics[number % len(topics)], str(number)) for number in numbers]


async def test_messages_arrive_as_they_were_published(make_hub: MakeHub) -> None:
    """Text arrives as text and bytes as bytes, whatever is in them, with the id that publishing returned."""
    async with make_hub() as hub, hub.subscribe("a") as subscription:
        values = ["", b"", "text å\n\0", bytes(range(256)), "x" * 100_000]
        ids = [await hub.publish("a", value) for value in values]
        items = await receive_count(subscription, len(values))
        assert items == [Published(identity, "a", value) for identity, value in zip(ids, values, strict=True)]


async def test_one_order_for_all_topics(make_hub: MakeHub) -> None:
    """Many publishers on many topics: every reader gets its topics in the one order of the hub, and ids grow."""
    async with make_hub() as hub, hub.subscribe("a", "b", "c") as all_topics, hub.subscribe("b") as one:
        published: dict[str, str] = {}

        async def publish(name: str) -> None:
            for number in range(20):
                topic = "abc"[number % 3]
                published[await hub.publish(topic, f"{name} {number}")] = topic

        async with trio.open_nursery() as nursery:
            for name in "xyz":
                nursery.start_soon(publish, name)
        order = sorted(published.items(), key=lambda one: BroadcastPosition.parse(one[0]).seq)
        check_received(order, await receive_count(all_topics, 60), ["a", "b", "c"], 0)
        check_received(order, await receive_count(one, 21), ["b"], 0)
        assert len({BroadcastPosition.parse(identity).epoch for identity in published}) == 1


async def test_only_what_comes_after_subscribing(make_hub: MakeHub) -> None:
    """Without an id a reader begins with what is published from then on, and gets the topics it asked for alone."""
    async with make_hub() as hub:
        await publish_numbers(hub, range(5), "a", "b")
        async with hub.subscribe("a", "a") as subscription, hub.subscribe("a", after="") as another:
            await publish_numbers(hub, range(5, 9), "a", "b")
            assert data_of(await receive_until(subscription, "8")) == ["6", "8"]
            assert data_of(await receive_until(another, "8")) == ["6", "8"]


async def test_topics_that_come_and_go(make_hub: MakeHub) -> None:
    """Readers of one topic arrive and leave while others stay; each gets what was published in its time."""
    async with make_hub() as hub, hub.subscribe("a") as staying:
        for number in range(5):
            await hub.publish("b", "to nobody")
            async with hub.subscribe("b") as passing, hub.subscribe("a", "b") as both:
                await hub.publish("b", f"b {number}")
                await hub.publish("a", f"a {number}")
                assert data_of(await receive_count(passing, 1)) == [f"b {number}"]
                assert data_of(await receive_count(both, 2)) == [f"b {number}", f"a {number}"]
        assert data_of(await receive_count(staying, 5)) == [f"a {number}" for number in range(5)]
        assert hub.statistics().topics == hub.statistics().subscriptions == 1


async def test_a_reader_comes_back_with_its_last_id(make_hub: MakeHub) -> None:
    """What was published meanwhile on all its topics comes first, once, and then what is published from then on."""
    async with make_hub() as hub:
        ids = await publish_numbers(hub, range(30), "a", "b", "c")
        async with hub.subscribe("a", "b", after=ids[3], max_pending=4) as subscription:
            await publish_numbers(hub, range(30, 33), "a", "b", "c")
            items = data_of(await receive_until(subscription, "31"))
            assert items == [str(number) for number in range(4, 33) if number % 3 != 2]


async def test_history_of_uneven_topics_is_in_order(make_hub: MakeHub) -> None:
    """Read in small pieces, topics of which one is long before the other begins still come in the one order."""
    async with make_hub() as hub:
        order = "a" * 30 + "b" * 30 + "ab" * 5 + "c" + "a" * 10
        ids = [await hub.publish(topic, str(number)) for number, topic in enumerate(order)]
        for max_pending in (1, 4, 7, 1000):
            async with hub.subscribe("a", "b", "c", after=ids[4], max_pending=max_pending) as subscription:
                items = data_of(await receive_until(subscription, str(len(order) - 1)))
                assert items == [str(number) for number in range(5, len(order))]


async def test_what_is_missing_is_told_in_one_piece_of_the_history(make_hub: MakeHub) -> None:
    """A gap belongs to one place: a reader in small pieces is not told of it again with every piece."""
    async with make_hub(max_topics=2) as hub:
        first = await hub.publish("b", "first")
        await publish_numbers(hub, range(20), "b")
        await hub.publish("a", "forgotten")
        await publish_numbers(hub, range(20, 25), "b")
        await hub.publish("c", "new")
        async with hub.subscribe("a", "b", after=first, max_pending=4) as subscription:
            items = data_of(await receive_until(subscription, "24"))
            assert items.count("(a: expired)") == 1
            assert [item for item in items if item != "(a: expired)"] == [str(number) for number in range(25)]


async def test_coming_back_while_others_publish(make_hub: MakeHub) -> None:
    """Readers that come back in the middle of a stream of messages get each of them once and in order."""
    async with make_hub() as hub:
        published: list[tuple[str, str]] = []

        async def publish() -> None:
            for number in range(300):
                topic = "ab"[number % 2]
                published.append((await hub.publish(topic, str(number)), topic))
                assert len(published) == number + 1
            for topic in "ab":
                identity = await hub.publish(topic, f"last of {topic}")
                published.append((identity, topic))

        async def read(topics: str, begin: int, max_pending: int) -> None:
            while len(published) < begin:
                await trio.sleep(0.0001)
            start = begin // 2
            async with hub.subscribe(*topics, after=published[start - 1][0], max_pending=max_pending) as subscription:
                items = await receive_until(subscription, f"last of {topics[-1]}")
            check_received(published, items, list(topics), start)
            assert not [item for item in items if isinstance(item, Gap) and item.why != "slow"]

        async with trio.open_nursery() as nursery:
            for begin in (10, 100, 250):
                for topics in ("a", "ab"):
                    nursery.start_soon(read, topics, begin, 8)
                    nursery.start_soon(read, topics, begin, 1000)
            nursery.start_soon(publish)


@pytest.mark.parametrize("after", ["zzzz.1", "no id", "\x00\n", "é" * 100, "FUTURE", "FUTURE EPOCH"])
async def test_an_id_that_was_never_given_out(make_hub: MakeHub, after: str) -> None:
    """What a client sends is not believed: it is told that its state is worth nothing, and gets what is retained."""
    async with make_hub() as hub:
        ids = await publish_numbers(hub, range(3), "a", "b")
        epoch, seq = BroadcastPosition.parse(ids[-1])
        after = {"FUTURE": f"{epoch}.{seq + 1}", "FUTURE EPOCH": f"{epoch}.9999999999999999"}.get(after, after)
        async with hub.subscribe("a", "b", after=after) as subscription:
            await hub.publish("a", "now")
            expected = ["(a: epoch)", "(b: epoch)", "0", "1", "2", "now"]
            assert data_of(await receive_until(subscription, "now")) == expected


async def test_a_reader_that_is_too_late_is_told(make_hub: MakeHub) -> None:
    """What is no longer retained is a gap on its topic alone, and what is retained follows."""
    async with make_hub(max_retained=5) as hub:
        ids = await publish_numbers(hub, range(2), "a", "b")
        await publish_numbers(hub, range(2, 600), "a")
        async with hub.subscribe("a", "b", after=ids[0], max_pending=1000) as subscription:
            items = data_of(await receive_until(subscription, "599"))
            assert items[:2] == ["(a: expired)", "1"]
            assert items[-5:] == ["595", "596", "597", "598", "599"]
            assert "(b: expired)" not in items
            assert len(items) < 300
        async with hub.subscribe("b", after=ids[1]) as subscription:
            await hub.publish("b", "end")
            assert data_of(await receive_until(subscription, "end")) == ["end"]


async def test_topics_are_forgotten_silent_ones_first(make_hub: MakeHub) -> None:
    """``max_topics``: a reader of a forgotten topic is told, and one that has read later than that is not."""
    async with make_hub(max_topics=2) as hub:
        first = await hub.publish("a", "1")
        await hub.publish("b", "2")
        await hub.publish("a", "3")
        last = await hub.publish("c", "4")
        async with hub.subscribe("a", "b", "c", after=first) as subscription:
            assert data_of(await receive_until(subscription, "4")) == ["(b: expired)", "3", "4"]
        async with hub.subscribe("a", "b", after=last) as subscription:
            await hub.publish("b", "5")
            assert data_of(await receive_until(subscription, "5")) == ["5"]
        async with hub.subscribe("a", "b", after=first) as subscription:
            assert data_of(await receive_until(subscription, "5")) == ["(a: expired)", "(b: expired)", "5"]


@pytest.mark.parametrize("overflow", ["gap", "latest", "close"])
async def test_a_reader_that_does_not_keep_up(make_hub: MakeHub, overflow: str) -> None:
    """Thirty messages that nobody reads, with each policy; the publisher notices nothing."""
    async with (
        make_hub() as hub,
        hub.subscribe("a", "b", max_pending=8, overflow=overflow) as slow,  # type: ignore[arg-type]  # one of them
        hub.subscribe("a", "b") as quick,
    ):
        ids = await publish_numbers(hub, range(30), "a", "b")
        published = [(identity, "ab"[number % 2]) for number, identity in enumerate(ids)]
        check_received(published, await receive_count(quick, 30), ["a", "b"], 0)
        if overflow == "close":
            with pytest.raises(SlowReaderError):
                await slow.receive()
            return
        items = await receive_until(slow, "29")
        assert len(items) <= 10
        if overflow == "gap":
            check_received(published, items, ["a", "b"], 0)
            assert data_of(items[:2]) == ["(a: slow)", "(b: slow)"]
        else:
            assert data_of(items[-2:]) == ["28", "29"]


async def test_receiving_is_resumable(make_hub: MakeHub) -> None:
    """A receive that is cancelled again and again while messages come loses none of them."""
    async with make_hub() as hub:
        first = await hub.publish("a", "0")
        await publish_numbers(hub, range(1, 50), "a")
        async with hub.subscribe("a", after=first, max_pending=1000) as subscription, trio.open_nursery() as nursery:
            nursery.start_soon(publish_numbers, hub, range(50, 100), "a")
            items: list[Published | Gap] = []
            pause = 0.0
            while len(items) < 99:
                pause = (pause + 0.00013) % 0.001
                with trio.move_on_after(pause):
                    items += await receive_count(subscription, 1)
            assert data_of(items) == [str(number) for number in range(1, 100)]


async def test_a_thousand_readers(make_hub: MakeHub) -> None:
    """One message reaches all of them, and none of them has a task or a connection of the hub's."""
    async with make_hub() as hub, trio.open_nursery() as nursery:
        received = Counter[int]()

        async def read(number: int, ready: trio.Event) -> None:
            async with hub.subscribe("a") as subscription:
                ready.set()
                async for _ in subscription:
                    received[number] += 1

        for number in range(1000):
            ready = trio.Event()
            nursery.start_soon(read, number, ready)
            await ready.wait()
        for _ in range(3):
            await hub.publish("a", "to all")
        with trio.fail_after(20):
            while received.total() < 3000:
                await trio.sleep(0.01)
        assert set(received.values()) == {3}
        assert hub.statistics().subscriptions == 1000
        nursery.cancel_scope.cancel()
