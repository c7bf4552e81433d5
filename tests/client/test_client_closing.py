"""Closing: what runs ends with a clear error, what is idle is closed, and nothing is left."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from triohttp import Client, ClientLimits, ClientTimeouts, Origin
from triohttp.errors import ClientClosedError
from triohttp.testing import RawConnection, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answer_all(connection: RawConnection) -> None:
    while True:
        await connection.read_request()
        await connection.send_all(OK)


class BlackHole:
    async def connect(self) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError("unreachable")


async def endless() -> AsyncIterator[bytes]:
    while True:
        await trio.lowlevel.checkpoint()
        yield b"x" * 1000


async def test_whatever_a_client_does_ends_when_it_is_closed() -> None:
    """Whoever dials, waits in the pool, sends, or awaits a head or content gets ClientClosedError."""

    async def deaf(connection: RawConnection) -> None:
        await trio.sleep_forever()

    async def half(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst")
        await connection.read_until_closed()

    ended: list[str] = []
    async with open_scripted(deaf) as silent, open_scripted(half) as halting, trio.open_nursery() as nursery:

        async def expect_end(name: str, url: str, *, upload: bool = False, stream: bool = False) -> None:
            with pytest.raises(ClientClosedError):
                if stream:
                    async with client.stream("GET", url) as response:
                        await response.read()
                elif upload:
                    await client.post(url, content=endless())
                else:
                    await client.get(url)
            ended.append(name)

        mounts: dict[str, Origin] = {
            "http://hole.test": BlackHole(),
            "http://silent.test": silent,
            "http://halting.test": halting,
        }
        limits = ClientLimits(connections=7, connections_per_origin=3)
        async with Client(mounts=mounts, limits=limits) as client:
            nursery.start_soon(expect_end, "dial", "http://hole.test/")
            nursery.start_soon(expect_end, "head", "http://silent.test/")
            nursery.start_soon(lambda: expect_end("send", "http://silent.test/", upload=True))
            nursery.start_soon(expect_end, "content", "http://halting.test/")
            nursery.start_soon(lambda: expect_end("stream", "http://halting.test/", stream=True))
            nursery.start_soon(expect_end, "third", "http://silent.test/")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(expect_end, "pool", "http://silent.test/")
            await trio.testing.wait_all_tasks_blocked()
            statistics = client.pool.statistics()
            assert (statistics.in_use, statistics.connecting, statistics.waiting) == (5, 1, 1)
        assert client.pool.statistics().connecting == 0
    assert sorted(ended) == ["content", "dial", "head", "pool", "send", "stream", "third"]
    assert client.pool.statistics().connections == 0


async def test_a_block_that_outlives_its_client_hears_of_it_at_the_next_receive() -> None:
    """A streamed answer cannot be received from a client that is closed, and leaving its block still works."""
    async with open_scripted(answer_all) as server:
        client = Client(mounts={server.url: server})
        await client.__aenter__()
        async with client.stream("GET", server.url) as response:
            await client.__aexit__(None, None, None)
            with pytest.raises(ClientClosedError):
                await response.read()


async def test_a_client_that_is_not_open_refuses() -> None:
    """Before its block and after it every request is ClientClosedError, and nothing is tried."""
    client = Client()
    with pytest.raises(ClientClosedError):
        await client.get("http://127.0.0.1:1/")
    async with client:
        pass
    with pytest.raises(ClientClosedError) as caught:
        await client.get("http://127.0.0.1:1/")
    assert caught.value.safe_to_retry
    with pytest.raises(ClientClosedError):
        async with client.stream("GET", "http://127.0.0.1:1/"):
            raise AssertionError("the block must not be entered")
    with pytest.raises(RuntimeError, match="entered once"):
        await client.__aenter__()


async def test_idle_connections_are_closed_politely() -> None:
    """The server of an idle connection sees its end, not a reset."""
    ends: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(OK)
        ends.append(await connection.read_until_closed())

    async with open_scripted(script) as server:
        async with Client(mounts={server.url: server}) as client:
            await client.get(server.url)
        await trio.testing.wait_all_tasks_blocked()
        assert ends == [b""]


async def test_closing_works_while_cancelled() -> None:
    """A block that is left by cancellation closes its client all the same."""
    async with open_scripted(answer_all) as server:
        with trio.CancelScope() as scope:
            async with Client(mounts={server.url: server}) as client:
                await client.get(server.url)
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert client.pool.statistics().connections == 0


def test_a_client_that_is_never_closed_is_told_of() -> None:
    """Dropping an open client is a ResourceWarning that names it; trio tells of the block that was not left."""

    async def main() -> None:
        await Client("http://h.test/").__aenter__()

    with pytest.warns(ResourceWarning, match=r"h\.test.*never closed"), pytest.raises(RuntimeError, match="Nursery"):
        trio.run(main)


async def test_a_derived_client_has_other_defaults_and_the_same_pool() -> None:
    """Headers, params, base URL and timeouts are its own; connections are shared; the first client closes them."""
    async with open_scripted(answer_all) as server:
        async with Client(server.url, headers={"X-A": "1"}, params={"a": 1}, mounts={server.url: server}) as client:
            derived = client.derive(
                "/v1/",
                headers={"X-B": "2"},
                params={"b": 2},
                timeouts=ClientTimeouts(head_seconds=math.inf),
            )
            await client.get("/first")
            await derived.get("second")
            await derived.derive(None).get(f"{server.url}/third")
            assert derived.pool is client.pool
            assert len(server.connections) == 1
            sent = server.connections[0].received
            with pytest.raises(RuntimeError, match="derived"):
                await derived.__aenter__()
        with pytest.raises(ClientClosedError):
            await derived.get("x")
    requests = [head.split(b"\r\n") for head in sent.split(b"\r\n\r\n")[:3]]
    assert [lines[0] for lines in requests] == [
        b"GET /first?a=1 HTTP/1.1",
        b"GET /v1/second?a=1&b=2 HTTP/1.1",
        b"GET /third?a=1&b=2 HTTP/1.1",
    ]
    assert [(b"X-A: 1" in lines, b"X-B: 2" in lines) for lines in requests] == [
        (True, False),
        (True, True),
        (True, True),
    ]


async def test_a_repr_shows_no_secret() -> None:
    """A client shows its base URL and how many connections it has."""
    client = Client("http://h.test/v1/", headers={"Authorization": "Bearer hidden"})
    assert "hidden" not in repr(client)
    assert "h.test" in repr(client)
