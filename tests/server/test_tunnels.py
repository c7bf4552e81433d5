"""A connection that was taken over belongs to its handler: no phase of HTTP ends it any more."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from triohttp import Headers, open_server
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import RawConnection, open_in_process

UPGRADE = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHING = ResponseHead(101, Headers({"connection": "upgrade", "upgrade": "echo"}))
HOUR = 3600.0


async def take_over(exchange: Exchange) -> trio.abc.Stream:
    return await exchange.take_over(SWITCHING)


async def echo(exchange: Exchange) -> None:
    """Answer an upgrade with an echo, anything else with nothing."""
    if "upgrade" not in exchange.head.headers:
        await exchange.respond(ResponseHead(200, Headers()))
        return
    stream = await take_over(exchange)
    async for data in stream:
        await stream.send_all(data)


async def upgrade(raw: RawConnection) -> None:
    await raw.send_all(UPGRADE)
    assert (await raw.read_response()).status == 101


@pytest.mark.parametrize("requests_before", [0, 1])
async def test_a_quiet_tunnel_lasts(requests_before: int, autojump_clock: trio.testing.MockClock) -> None:
    """No deadline of a head, of keeping alive, of content or of writing ends a tunnel that nothing happens in."""
    async with open_in_process(echo) as site, await site.open_raw() as raw:
        for _ in range(requests_before):
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await raw.read_response()
        await upgrade(raw)
        await trio.sleep(HOUR)
        await raw.send_all(b"still here")
        assert await raw.read_exactly(10) == b"still here"


async def test_a_tunnel_that_is_not_read_waits_for_its_peer(autojump_clock: trio.testing.MockClock) -> None:
    """How long a peer may take to read is the business of the handler from then on."""

    async def service(exchange: Exchange) -> None:
        stream = await take_over(exchange)
        await stream.send_all(b"x" * 1_000_000)

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await upgrade(raw)
        await trio.sleep(HOUR)
        assert len(await raw.read_exactly(1_000_000)) == 1_000_000
        assert await raw.read_until_closed() == b""


async def test_a_peer_that_ends_its_half_leaves_the_other_to_the_handler(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An end of stream, before or after the upgrade, cancels nothing: whoever reads sees it."""

    async def service(exchange: Exchange) -> None:
        await trio.sleep(0.3)  # the end is noticed while this is still a request
        stream = await take_over(exchange)
        await trio.sleep(HOUR)
        assert await stream.receive_some() == b""
        await stream.send_all(b"goodbye")

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await raw.send_all(UPGRADE)
        await raw.send_eof()
        assert (await raw.read_response()).status == 101
        assert await raw.read_until_closed() == b"goodbye"


async def test_both_halves_end_on_their_own() -> None:
    """What comes in after our half has ended is still received, and the other way round."""

    async def service(exchange: Exchange) -> None:
        stream = await take_over(exchange)
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        await stream.send_all(b"hello")
        await stream.send_eof()
        received.append(await stream.receive_some())
        done.set()

    received: list[bytes | bytearray] = []
    done = trio.Event()
    async with open_server(service) as server:
        async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
            await upgrade(raw)
            assert await raw.read_until_closed() == b"hello"
            await raw.send_all(b"goodbye")
            await done.wait()
    assert received == [b"goodbye"]


async def test_a_handler_may_go_on_sending_to_a_peer_that_has_ended_its_half() -> None:
    """The end of the peer's half is the end of what is received, and of nothing else."""

    async def service(exchange: Exchange) -> None:
        stream = await take_over(exchange)
        async for data in stream:
            await stream.send_all(data)
        await stream.send_all(b" and over")

    async with open_server(service) as server:
        async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
            await upgrade(raw)
            await raw.send_all(b"abc")
            await raw.send_eof()
            assert await raw.read_until_closed() == b"abc and over"


async def test_bytes_behind_the_request_come_first() -> None:
    """What the peer sent along with its request is the beginning of the tunnel."""
    async with open_server(echo) as server:
        async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
            await raw.send_all(UPGRADE + b"early ")
            assert (await raw.read_response()).status == 101
            await raw.send_all(b"late")
            assert await raw.read_exactly(10) == b"early late"


async def test_a_handler_that_leaves_ends_the_tunnel() -> None:
    """Nobody has to close it."""

    async def service(exchange: Exchange) -> None:
        await (await take_over(exchange)).send_all(b"that is all")

    async with open_server(service) as server:
        async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
            await upgrade(raw)
            assert await raw.read_until_closed() == b"that is all"


async def test_a_drain_waits_for_a_tunnel_and_ends_it_with_its_grace(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A tunnel is an answer that is going on: it may end by itself, and is cancelled when the grace ends."""
    async with open_in_process(echo) as site, await site.open_raw() as raw:
        await upgrade(raw)
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.server.shutdown, 5)
            await trio.sleep(4)
            await raw.send_all(b"still here")
            assert await raw.read_exactly(10) == b"still here"
        assert trio.current_time() - start == 5
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_peer_that_resets_a_tunnel_stops_its_handler(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that waits for something else is cancelled, one that waits on the tunnel is told; that is no fault."""
    outcomes: list[type[BaseException]] = []
    running, ended = trio.Event(), trio.Event()

    async def service(exchange: Exchange) -> None:
        stream = await take_over(exchange)
        running.set()
        try:
            if exchange.head.target == "/read":
                await stream.receive_some()
            await trio.sleep_forever()
        except BaseException as exc:
            outcomes.append(type(exc))
            raise
        finally:
            ended.set()

    async with open_server(service) as server:
        for target in (b"/read", b"/wait"):
            running, ended = trio.Event(), trio.Event()
            raw = RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port))
            await raw.send_all(UPGRADE.replace(b"/", target, 1))
            await running.wait()
            await trio.testing.wait_all_tasks_blocked()
            raw.reset()
            await ended.wait()
            await raw.aclose()
    assert outcomes == [trio.BrokenResourceError, trio.Cancelled]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
