"""Cancelling a client anywhere: no slot is lost, no stream stays open, and the next request is right."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from triohttp import Client, ClientLimits
from triohttp.errors import ClientClosedError, TransportError
from triohttp.testing import CertificateAuthority, RawConnection, SweepRun, cancel_sweep, open_scripted

pytestmark = pytest.mark.sweep

ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


async def answer_all(connection: RawConnection) -> None:
    """Answer in two pieces, so that the client has to wait inside the content."""
    while True:
        await connection.read_request()
        await connection.send_all(ANSWER[:60])
        await trio.testing.wait_all_tasks_blocked()
        await connection.send_all(ANSWER[60:])


async def one_shot(client: Client, url: str) -> None:
    assert (await client.get(url)).content == b"ok"


async def whole_upload(client: Client, url: str) -> None:
    assert (await client.put(url, content=b"x" * 200_000)).content == b"ok"


async def streamed(client: Client, url: str) -> None:
    async with client.stream("GET", url) as response:
        assert await response.body.receive_some() == b"ok"
        assert await response.body.receive_some() == b""


async def streamed_upload(client: Client, url: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 30_000
            await trio.lowlevel.checkpoint()

    async with client.stream("POST", url, content=pieces()) as response:
        assert await response.read() == b"ok"


async def asking_first(client: Client, url: str) -> None:
    assert (await client.post(url, content=b"x", expect_continue=True)).content == b"ok"


async def check(client: Client, url: str) -> None:
    """Check that every slot is there, and that the client goes on working."""
    statistics = client.pool.statistics()
    assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0), statistics
    assert statistics.connections == statistics.idle
    await one_shot(client, url)


@asynccontextmanager
async def open_client(*, over_tcp: bool, authority: CertificateAuthority | None) -> AsyncIterator[tuple[Client, str]]:
    """Open a client of one connection and a server; the value is the client and where the server is."""
    tls = None if authority is None else authority.client_context()
    limits = ClientLimits(connections=1)
    if not over_tcp:
        async with open_scripted(answer_all, tls=authority) as server:
            async with Client(mounts={server.url: server}, tls=tls, limits=limits) as client:
                yield client, server.url
        return

    async def answer(stream: trio.abc.Stream) -> None:
        if authority is not None:
            context = authority.server_context("127.0.0.1")
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        async with RawConnection(stream) as connection:
            with contextlib.suppress(trio.BrokenResourceError, TransportError):  # the client has left
                await answer_all(connection)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with Client(tls=tls, limits=limits) as client:
            yield client, f"{'http' if authority is None else 'https'}://127.0.0.1:{port}/"
        nursery.cancel_scope.cancel()


@pytest.mark.wall_seconds(120)
@pytest.mark.parametrize("over_tcp", [False, True], ids=["memory", "tcp"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("warm", [False, True], ids=["new", "reused"])
@pytest.mark.parametrize("use", [one_shot, whole_upload, streamed, streamed_upload, asking_first])
def test_cancelling_a_request_anywhere_leaks_nothing(
    use: Callable[[Client, str], Awaitable[None]], warm: bool, secure: bool, over_tcp: bool
) -> None:
    """At every checkpoint of every kind of request, on new and on reused connections."""
    authority = CertificateAuthority() if secure else None

    async def scenario(sweep: SweepRun) -> None:
        async with open_client(over_tcp=over_tcp, authority=authority) as (client, url):
            if warm:
                await one_shot(client, url)
            with sweep.block():
                await use(client, url)
            await check(client, url)

    report = cancel_sweep(scenario)
    assert report.cancelled > 0


@pytest.mark.wall_seconds(120)
def test_cancelling_a_waiter_anywhere_passes_its_slot_on() -> None:
    """A waiter that is cancelled, asleep or just served, leaves the slot to the one behind it."""

    async def scenario(sweep: SweepRun) -> None:
        async with open_scripted(answer_all) as server:
            async with Client(mounts={server.url: server}, limits=ClientLimits(connections=1)) as client:

                async def victim() -> None:
                    with sweep.block():
                        await one_shot(client, server.url)

                async with trio.open_nursery() as nursery, client.stream("GET", server.url) as response:
                    nursery.start_soon(victim)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(one_shot, client, server.url)
                    await response.read()  # frees the slot while both wait, or are about to
                await check(client, server.url)

    report = cancel_sweep(scenario)
    assert report.cancelled > 0


@pytest.mark.wall_seconds(120)
def test_closing_a_client_at_any_point_of_a_request_leaks_nothing() -> None:
    """Wherever its user is, leaving the client's block ends it."""

    async def scenario(sweep: SweepRun) -> None:
        async with open_scripted(answer_all) as server:
            client = Client(mounts={server.url: server}, limits=ClientLimits(connections=1))
            await client.__aenter__()
            with sweep.block(action=client.pool.close):
                with contextlib.suppress(ClientClosedError):
                    await streamed_upload(client, server.url)
            await client.__aexit__(None, None, None)
            assert client.pool.statistics().connections == 0

    cancel_sweep(scenario)
