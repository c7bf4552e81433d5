"""Timeouts: each phase ends at its bound, exactly, with its own error; a scope of the caller's stays ``Cancelled``."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from triohttp import Client, ClientLimits, ClientTimeouts, Origin
from triohttp.errors import (
    ConnectTimeout,
    HeadTimeout,
    InactivityError,
    PoolTimeout,
    ReadTimeout,
    TotalTimeout,
    WriteTimeout,
)
from triohttp.testing import RawConnection, memory_stream_pair, open_scripted

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


async def never(connection: RawConnection) -> None:
    """Read requests and answer none."""
    while await connection.receive_some():
        pass


class BlackHole:
    """An origin whose connections never open."""

    async def connect(self) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError("unreachable")


class Deaf:
    """An origin that accepts connections and reads nothing from them."""

    def __init__(self) -> None:
        self.ends: list[trio.abc.Stream] = []

    async def connect(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair(10)
        self.ends.append(theirs)
        return ours


async def test_a_connection_that_does_not_open(autojump_clock: trio.testing.MockClock) -> None:
    """ConnectTimeout, with its bound, and nothing was sent."""
    timeouts = ClientTimeouts(connect_seconds=3.0)
    async with Client(mounts={"http://h.test": BlackHole()}, timeouts=timeouts) as client:
        started = trio.current_time()
        with pytest.raises(ConnectTimeout, match="in 3 s") as caught:
            await client.get("http://h.test/")
        assert trio.current_time() - started == 3.0
        assert isinstance(caught.value, trio.TooSlowError)
        assert (caught.value.phase, caught.value.seconds) == ("connect", 3.0)
        assert not caught.value.sent
        assert caught.value.safe_to_retry
        assert client.pool.statistics().connections == 0


async def test_a_tls_handshake_that_does_not_end(autojump_clock: trio.testing.MockClock) -> None:
    """The handshake belongs to the dial and its bound."""
    timeouts = ClientTimeouts(connect_seconds=3.0)
    async with open_scripted(never) as server:
        async with Client(mounts={"https://scripted.test": server}, timeouts=timeouts) as client:
            started = trio.current_time()
            with pytest.raises(ConnectTimeout):
                await client.get("https://scripted.test/")
            assert trio.current_time() - started == 3.0
            assert client.pool.statistics().connections == 0


async def test_a_pool_that_stays_full(autojump_clock: trio.testing.MockClock) -> None:
    """PoolTimeout says who holds what was waited for."""
    limits = ClientLimits(connections_per_origin=1)
    timeouts = ClientTimeouts(pool_seconds=2.0)
    async with (
        open_scripted(never) as server,
        Client(mounts={server.url: server}, limits=limits, timeouts=timeouts) as client,
        trio.open_nursery() as nursery,
    ):

        async def hold() -> None:
            await client.get(f"{server.url}/slow", timeouts=ClientTimeouts(head_seconds=math.inf))

        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        with pytest.raises(PoolTimeout, match=r"1 of 1 connections.*by GET .*/slow") as caught:
            await client.get(server.url)
        assert trio.current_time() - started == 2.0
        assert not caught.value.sent
        assert client.pool.statistics().waiting == 0
        nursery.cancel_scope.cancel()


async def test_a_head_that_does_not_come(autojump_clock: trio.testing.MockClock) -> None:
    """HeadTimeout counts from the end of the request; interim responses and single bytes do not re-arm it."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        for _ in range(10):
            await connection.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await trio.sleep(1)
        for octet in HEAD:
            await connection.send_all(bytes([octet]))
            await trio.sleep(1)

    timeouts = ClientTimeouts(head_seconds=20.0)
    async with open_scripted(script) as server, Client(mounts={server.url: server}, timeouts=timeouts) as client:
        started = trio.current_time()
        with pytest.raises(HeadTimeout) as caught:
            await client.get(server.url)
        assert trio.current_time() - started == 20.0
        assert caught.value.sent
        assert not caught.value.safe_to_retry
        assert client.pool.statistics().connections == 0


async def test_content_that_stops_coming(autojump_clock: trio.testing.MockClock) -> None:
    """ReadTimeout counts from the last bytes, for complete and for streamed answers."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(HEAD)
        for _ in range(3):
            await trio.sleep(4)
            await connection.send_all(b"x")
        await trio.sleep_forever()

    timeouts = ClientTimeouts(read_idle_seconds=5.0)
    async with open_scripted(script) as server, Client(mounts={server.url: server}, timeouts=timeouts) as client:
        started = trio.current_time()
        with pytest.raises(ReadTimeout):
            await client.get(server.url)
        assert trio.current_time() - started == 17.0
        async with client.stream("GET", server.url) as response:
            started = trio.current_time()
            with pytest.raises(ReadTimeout):
                await response.read()
            assert trio.current_time() - started == 17.0
        assert client.pool.statistics().connections == 0


async def test_time_in_the_block_of_a_stream_is_the_programs(autojump_clock: trio.testing.MockClock) -> None:
    """A program that is slow with what it has is not late: only waiting for the server counts."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(HEAD + b"x" * 50)
        await trio.sleep(62)
        await connection.send_all(b"x" * 50)
        await connection.read_until_closed()

    timeouts = ClientTimeouts(read_idle_seconds=5.0)
    async with open_scripted(script) as server, Client(mounts={server.url: server}, timeouts=timeouts) as client:
        async with client.stream("GET", server.url) as response:
            assert len(await response.body.receive_some()) == 50
            await trio.sleep(60)
            assert len(await response.read()) == 50


async def test_a_request_that_is_not_taken(autojump_clock: trio.testing.MockClock) -> None:
    """WriteTimeout, when not even the head goes out."""
    timeouts = ClientTimeouts(write_idle_seconds=6.0)
    async with Client(mounts={"http://h.test": Deaf()}, timeouts=timeouts) as client:
        started = trio.current_time()
        with pytest.raises(WriteTimeout) as caught:
            await client.get("http://h.test/")
        assert trio.current_time() - started == 6.0
        assert caught.value.sent
        assert client.pool.statistics().connections == 0


async def test_an_exchange_that_takes_too_long_altogether(autojump_clock: trio.testing.MockClock) -> None:
    """TotalTimeout bounds everything, content included, whatever the phases allow; it names the phase."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(HEAD)
        while True:
            await trio.sleep(1)
            await connection.send_all(b"x")

    timeouts = ClientTimeouts(total_seconds=9.5)
    async with open_scripted(script) as server, Client(mounts={server.url: server}, timeouts=timeouts) as client:
        started = trio.current_time()
        with pytest.raises(TotalTimeout, match="content phase") as caught:
            await client.get(server.url)
        assert trio.current_time() - started == 9.5
        assert caught.value.seconds == 9.5
        async with client.stream("GET", server.url) as response:
            await trio.sleep(5)
            started = trio.current_time()
            with pytest.raises(TotalTimeout):
                await response.read()
            assert trio.current_time() - started == 4.5


async def test_a_calls_own_timeouts_count(autojump_clock: trio.testing.MockClock) -> None:
    """``timeouts=`` of a call replaces the client's."""
    async with open_scripted(never) as server, Client(mounts={server.url: server}) as client:
        started = trio.current_time()
        with pytest.raises(HeadTimeout):
            await client.get(server.url, timeouts=ClientTimeouts(head_seconds=0.25))
        assert trio.current_time() - started == 0.25


async def test_a_scope_of_the_caller_stays_one(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever phase it ends, the caller's own scope is what fired, and no error of ours is seen."""
    limits = ClientLimits(connections_per_origin=1)

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(HEAD)
        await trio.sleep_forever()

    mounts: dict[str, Origin] = {"http://hole.test": BlackHole(), "http://deaf.test": Deaf()}
    async with open_scripted(script) as server:
        async with Client(mounts={**mounts, server.url: server}, limits=limits) as client:
            for url in (*mounts, server.url):
                with trio.move_on_after(1) as scope:
                    await client.get(url)
                assert scope.cancelled_caught, url
                with trio.move_on_after(1) as scope:
                    await client.post(url, content=[b"x"] * 3)
                assert scope.cancelled_caught, url
            async with client.stream("GET", server.url):
                with trio.move_on_after(1) as scope:
                    await client.get(server.url)  # waits for the only slot
                assert scope.cancelled_caught
            assert client.pool.statistics().connections == 0


async def test_the_callers_scope_wins_at_the_same_instant(autojump_clock: trio.testing.MockClock) -> None:
    """A scope around the call that ends when a phase does is the one that counts, as anywhere in trio."""
    async with open_scripted(never) as server, Client(mounts={server.url: server}) as client:
        timeouts = ClientTimeouts(head_seconds=5.0)
        with trio.move_on_after(5.0) as scope:
            try:
                await client.get(server.url, timeouts=timeouts)
            except InactivityError:
                raise AssertionError("the inner scope took the caller's cancellation for its own") from None
        assert scope.cancelled_caught


async def test_without_bounds_a_client_waits(autojump_clock: trio.testing.MockClock) -> None:
    """``math.inf`` lifts every bound."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await trio.sleep(100_000)
        await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
        await trio.sleep(100_000)
        await connection.send_all(b"x")
        await connection.read_until_closed()

    endless = ClientTimeouts(
        connect_seconds=math.inf,
        pool_seconds=math.inf,
        head_seconds=math.inf,
        read_idle_seconds=math.inf,
        write_idle_seconds=math.inf,
    )
    async with open_scripted(script) as server, Client(mounts={server.url: server}, timeouts=endless) as client:
        assert (await client.get(server.url)).content == b"x"


async def test_an_old_connection_is_not_used(autojump_clock: trio.testing.MockClock) -> None:
    """After ``keep_alive_seconds`` of idleness a connection is closed, which its server sees."""
    ended: list[float] = []

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert await connection.read_until_closed() == b""
        ended.append(trio.current_time())

    timeouts = ClientTimeouts(keep_alive_seconds=10.0)
    async with open_scripted(script) as server, Client(mounts={server.url: server}, timeouts=timeouts) as client:
        await client.get(server.url)
        await trio.sleep(11)
        await client.get(server.url)
        await trio.testing.wait_all_tasks_blocked()
        assert len(server.connections) == 2
        assert ended == [trio.current_time()]
