"""A hub over Redis to which more is given than it can take: what waits is bounded, and nobody waits for ever."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from broadcast_checks import receive_until

from triohttp import Broadcast, Published
from triohttp.errors import ConnectError, DisconnectedError
from triohttp.integrations.redis import RedisEngine

if TYPE_CHECKING:
    from conftest import RedisServer


async def publish_in_vain(hub: Broadcast, count: int) -> None:
    """Publish, each time for a moment only."""
    for number in range(count):
        with trio.move_on_after(0.002):
            await hub.publish("a", str(number))


async def test_what_was_given_up_does_not_pile_up(redis_server: RedisServer) -> None:
    """While Redis stands still, ``max_in_flight`` of the cancelled publishes are kept; the others never happen."""
    engine = RedisEngine(redis_server.url, max_in_flight=5)
    async with Broadcast(engine) as hub, hub.subscribe("a") as reader:
        await hub.publish("a", "before")
        redis_server.freeze()
        await publish_in_vain(hub, 50)
        redis_server.thaw()
        with trio.fail_after(2):  # before the next ping would have made room
            await hub.publish("a", "after")
        items = await receive_until(reader, "after")
        first, *kept, last = [item.text for item in items if isinstance(item, Published)]
        assert (first, last) == ("before", "after")
        assert kept == [str(number) for number in range(len(kept))]
        assert 3 <= len(kept) <= 5  # a request of the hub's own, for the history, may be one of the five


async def test_more_at_once_than_may_be_in_flight(redis_server: RedisServer) -> None:
    """Hundreds who publish and subscribe in the same moment wait for each other, and all succeed."""
    async with Broadcast(RedisEngine(redis_server.url, max_in_flight=7)) as hub:
        ids: list[str] = []

        async def publish() -> None:
            ids.append(await hub.publish("a", ""))

        async def subscribe() -> None:
            async with hub.subscribe("a"):
                pass

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(publish)
                nursery.start_soon(subscribe)
        assert len(set(ids)) == 200


@pytest.mark.parametrize("end", ["of the connection", "of the hub"])
async def test_nobody_waits_for_room_on_a_connection_that_is_over(redis_server: RedisServer, end: str) -> None:
    """When a connection that stands still is closed, by us or by itself, those who waited for room are told."""
    errors: list[ConnectError | DisconnectedError] = []

    async def publish(hub: Broadcast) -> None:
        try:
            await hub.publish("a", "")
        except (ConnectError, DisconnectedError) as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        async with Broadcast(RedisEngine(redis_server.url, max_in_flight=3, ping_seconds=0.1)) as hub:
            redis_server.freeze()
            for _ in range(10):
                nursery.start_soon(publish, hub)
            await trio.sleep(0.05)
            assert not errors
            if end == "of the connection":
                with trio.fail_after(5):
                    while not errors:
                        await trio.sleep(0.01)
                redis_server.kill()
    assert len(errors) == 10


async def test_nobody_outwaits_a_hub_that_closes_in_the_same_moment(tmp_path: Path) -> None:
    """However close to the end of the hub a publish begins, it hears that there will be no connection."""
    ended = 0

    async def publish(hub: Broadcast) -> None:
        nonlocal ended
        with pytest.raises((ConnectError, trio.ClosedResourceError)):
            await hub.publish("a", "")
        ended += 1

    for _ in range(100):  # the order of tasks that are ready is not the same each time
        async with trio.open_nursery() as nursery:
            async with Broadcast(RedisEngine(f"unix://{tmp_path}/nobody")) as hub:
                for _ in range(3):
                    nursery.start_soon(publish, hub)
                await trio.lowlevel.checkpoint()
    assert ended == 300
