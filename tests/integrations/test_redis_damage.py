"""A hub over Redis whose keys somebody else has written to: that is told, and ends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from broadcast_checks import receive_until

from triohttp import Broadcast, BroadcastPosition, Gap, Published
from triohttp.integrations.redis import RedisEngine

if TYPE_CHECKING:
    from conftest import Proxy, RedisServer

NO_UTF8 = "\udcff"
"""The octet 255, on its way to redis-cli."""


def data_of(items: list[Published | Gap]) -> list[str]:
    return [item.text if isinstance(item, Published) else f"({item.topic}: {item.why})" for item in items]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["k", "s"], ["(a: expired)", "2", "3"]),
        (["b", "0", "k", "odd", "d", "data"], ["(a: expired)", "2", "3"]),
        (["b", "0", "k", "s", "d", NO_UTF8], ["(a: expired)", "2", "3"]),
        (["b", "none", "k", "s", "d", "data"], ["2", "data", "3"]),
        (["b", "0", "k", "s", "d", "data", "more", NO_UTF8], ["2", "data", "3"]),
    ],
)
async def test_an_entry_that_cannot_be_read_is_missing(
    redis_server: RedisServer, proxy: Proxy, fields: list[str], expected: list[str]
) -> None:
    """A process that catches up passes it, and so does a reader that comes back: there is a gap, and all the rest."""
    other = Broadcast(RedisEngine(redis_server.url))
    async with (
        Broadcast(RedisEngine(f"redis://127.0.0.1:{proxy.port}")) as hub,
        other,
        hub.subscribe("a") as reader,
    ):
        first = await other.publish("a", "1")
        assert data_of(await receive_until(reader, "1")) == ["1"]
        proxy.refusing = True
        proxy.cut()
        await other.publish("a", "2")
        seq = BroadcastPosition.parse(await other.publish("b", "")).seq
        redis_server.cli("xadd", "{triohttp}:stream:a", f"{seq}-0", *fields)
        await other.publish("a", "3")
        proxy.refusing = False
        assert data_of(await receive_until(reader, "3")) == expected
        async with other.subscribe("a", after=first) as returning:
            assert data_of(await receive_until(returning, "3")) == expected


async def test_a_first_entry_that_cannot_be_read(redis_server: RedisServer) -> None:
    """What was before a damaged entry is not known; what is after it comes."""
    async with Broadcast(RedisEngine(redis_server.url)) as hub:
        first = await hub.publish("b", "")
        seq = BroadcastPosition.parse(await hub.publish("b", "")).seq
        redis_server.cli("xadd", "{triohttp}:stream:a", f"{seq}-0", "k", "s")
        await hub.publish("a", "1")
        async with hub.subscribe("a", after=first) as returning:
            assert data_of(await receive_until(returning, "1")) == ["(a: expired)", "1"]


@pytest.mark.parametrize("word", ["", "two words", NO_UTF8])
async def test_an_epoch_that_cannot_be_read_is_none(redis_server: RedisServer, word: str) -> None:
    """Another word in its place begins a new epoch, as an emptied store does."""
    async with Broadcast(RedisEngine(redis_server.url)) as hub, hub.subscribe("a") as reader:
        first = await hub.publish("a", "1")
        assert data_of(await receive_until(reader, "1")) == ["1"]
        redis_server.cli("hset", "{triohttp}:hub", "epoch", word)
        async with hub.subscribe("a", after=first) as returning:
            assert data_of(await receive_until(returning, "1")) == ["(a: epoch)", "1"]
        assert data_of(await receive_until(reader, "1")) == ["(a: epoch)", "1"]
        await hub.publish("a", "2")
        assert data_of(await receive_until(reader, "2")) == ["2"]
