"""The in-process server is the real one, reached without sockets, and handlers' mistakes reach the test."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triohttp import Client, Headers, Limits, Timeouts, open_server
from triohttp.errors import InvalidURLError
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import CertificateAuthority, RawConnection, open_error_trap, open_in_process


async def hello(exchange: Exchange) -> None:
    await exchange.respond(ResponseHead(200, Headers({"Content-Type": "text/plain"})), b"hello")


async def broken(exchange: Exchange) -> None:
    raise KeyError("mine")


async def ask(raw: RawConnection) -> int:
    await raw.send_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
    return (await raw.read_response()).status


@pytest.mark.parametrize("secure", [False, True])
async def test_bytes_and_clients_reach_it(secure: bool, authority: CertificateAuthority) -> None:
    """Raw bytes, its own client, and any client that mounts it get answers, with TLS or without."""
    tls = authority if secure else None
    async with open_in_process(hello, tls=tls) as server:
        assert server.url == ("https://app.test" if secure else "http://app.test")
        async with await server.open_raw() as raw:
            assert await ask(raw) == 200
        async with server.client() as client:
            assert (await client.get("/")).content == b"hello"
        context = authority.client_context()
        async with Client(mounts={server.url: server}, tls=context if secure else None) as other:
            assert (await other.get(server.url)).status == 200
        assert server.server.statistics().connections == 3


async def test_its_client_reaches_nothing_else() -> None:
    """A test that forgets itself does not reach the network."""
    async with open_in_process(hello) as server, server.client() as client:
        with pytest.raises(InvalidURLError):
            await client.get("http://127.0.0.1:9/")


async def test_limits_and_timeouts_are_the_servers(autojump_clock: MockClock) -> None:
    """Bounds hold as on the network: a long line is refused, a silent client is dropped at its deadline."""
    limits, timeouts = Limits(max_line_bytes=100), Timeouts(head_seconds=3)
    async with open_in_process(hello, limits=limits, timeouts=timeouts) as server:
        async with await server.open_raw() as raw:
            await raw.send_all(b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await raw.read_response()).status == 414
        async with await server.open_raw() as raw:
            start = trio.current_time()
            assert await raw.read_until_closed() == b""
            assert 3 <= trio.current_time() - start < 3.1


async def test_a_peer_that_does_not_read_holds_the_handler_back(autojump_clock: MockClock) -> None:
    """The connection holds what it was told to hold and no more."""
    sent = 0

    async def stream(exchange: Exchange) -> None:
        nonlocal sent
        exchange.begin(ResponseHead(200, Headers()))
        for _ in range(100):
            await exchange.send(b"x" * 100)
            sent += 100
        await exchange.finish()

    async with open_in_process(stream, max_buffer_bytes=1000) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await wait_all_tasks_blocked()
        assert 500 <= sent <= 1000
        assert len((await raw.read_response()).content) == 10_000


async def test_a_mistake_of_a_handler_comes_out_of_the_block() -> None:
    """The block is left with the error itself, at once, though it waits for something else."""
    with pytest.raises(KeyError, match="mine") as caught:
        async with open_in_process(broken) as server:
            raw = await server.open_raw()
            await ask(raw)
            await trio.sleep_forever()
    assert caught.traceback[-1].name == "broken"


async def test_a_mistake_can_be_left_to_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """On demand the peer gets its 500, the log its record, and the test nothing; a trap around it stays quiet too."""
    async with open_error_trap(), open_in_process(broken, raise_handler_errors=False) as server:
        async with await server.open_raw() as raw:
            assert await ask(raw) == 500
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.ERROR] == [True]


async def test_the_first_mistake_counts() -> None:
    """Of two servers, each keeps to its own block: the one whose handler failed ends its own."""
    async with open_in_process(hello) as sound:
        with pytest.raises(KeyError):
            async with open_in_process(broken) as server:
                await ask(await server.open_raw())
        async with await sound.open_raw() as raw:
            assert await ask(raw) == 200


async def test_servers_on_sockets_can_be_trapped_too() -> None:
    """``open_error_trap`` does for a server on a port what ``open_in_process`` does by itself."""
    with pytest.raises(KeyError, match="mine"):
        async with open_error_trap(), open_server(broken) as server, Client() as client:
            await client.get(server.urls[0])
            await trio.sleep_forever()


async def test_the_blocks_own_error_is_itself() -> None:
    """What the block raises is not wrapped in anything."""
    with pytest.raises(LookupError, match="own"):
        async with open_in_process(hello):
            raise LookupError("own")


async def test_the_lifespan_encloses_the_block() -> None:
    """The service starts before the block and ends after it; after that, connections are refused."""
    events: list[str] = []

    class Service:
        @asynccontextmanager
        async def lifespan(self, nursery: trio.Nursery) -> AsyncIterator[None]:
            events.append("start")
            yield
            events.append("end")

        async def __call__(self, exchange: Exchange) -> None:
            await hello(exchange)

    async with open_in_process(Service()) as server:
        events.append("block")
    assert events == ["start", "block", "end"]
    with pytest.raises(ConnectionRefusedError):
        await server.open_raw()
