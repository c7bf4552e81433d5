"""How slowly a peer may take an answer: whoever keeps the rate gets it all, however long it takes."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from triohttp import Headers, Timeouts
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import CertificateAuthority, RawConnection, open_in_process

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
SMALL = 2048
TIMEOUTS = Timeouts(write_stall_seconds=30, write_min_rate=500, rate_grace_seconds=10)


async def stream(exchange: Exchange, *, size: int, piece: int) -> None:
    """Answer with ``size`` bytes, a piece at a time."""
    exchange.begin(ResponseHead(200, Headers({"content-length": str(size)})))
    for _ in range(size // piece):
        await exchange.send(b"x" * piece)
    await exchange.finish()


async def read_at(raw: RawConnection, rate: float, size: int) -> int:
    """Read as a slow line would, ``rate`` bytes a second; return how many came."""
    received = 0
    while received < size:
        data = await raw.receive_some(1000)
        if not data:
            break
        received += len(data)
        await trio.sleep(len(data) / rate)
    return received


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("piece", [100, 1000, 100_000], ids=lambda piece: f"{piece} bytes a send")
async def test_a_peer_that_keeps_the_rate_gets_everything(
    piece: int, secure: bool, autojump_clock: trio.testing.MockClock, authority: CertificateAuthority
) -> None:
    """What it takes counts, in however many sends it leaves; minutes of waiting in all are no reason to cut it."""
    size = 300_000
    service = partial(stream, size=size, piece=piece)
    async with open_in_process(
        service, timeouts=TIMEOUTS, tls=authority if secure else None, max_buffer_bytes=SMALL
    ) as site:
        async with await site.open_raw() as raw:
            await raw.send_all(GET)
            await raw.read_until(b"\r\n\r\n")
            assert await read_at(raw, 3000, size) == size


@pytest.mark.parametrize("piece", [100, 100_000], ids=lambda piece: f"{piece} bytes a send")
async def test_a_peer_below_the_rate_is_cut(piece: int, autojump_clock: trio.testing.MockClock) -> None:
    """Taking something now and then is not enough, in however many sends it leaves."""
    service = partial(stream, size=300_000, piece=piece)
    async with open_in_process(service, timeouts=TIMEOUTS, max_buffer_bytes=SMALL) as site:
        async with await site.open_raw() as raw:
            await raw.send_all(GET)
            await raw.read_until(b"\r\n\r\n")
            start = trio.current_time()
            with pytest.raises(trio.BrokenResourceError):
                await read_at(raw, 100, 300_000)
            assert trio.current_time() - start < 30


@pytest.mark.parametrize("when", ["before", "during"])
async def test_a_handler_may_move_the_deadline_of_writing(when: str, autojump_clock: trio.testing.MockClock) -> None:
    """The wait that is going on, and the next one, end when the handler says."""
    begun, moved_to = trio.Event(), 100.0

    async def service(exchange: Exchange) -> None:
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            if when == "before":
                exchange.deadlines.write = start + moved_to
            nursery.start_soon(exchange.respond, ResponseHead(200, Headers()), b"x" * 300_000)
            begun.set()
            if when == "during":
                await trio.sleep(20)
                exchange.deadlines.write = start + moved_to

    async with open_in_process(service, timeouts=TIMEOUTS.replace(write_min_rate=0), max_buffer_bytes=SMALL) as site:
        async with await site.open_raw() as raw:
            await raw.send_all(GET)
            await begun.wait()
            start = trio.current_time()
            while site.server.statistics().open_connections:
                await trio.sleep(0.5)
            assert moved_to <= trio.current_time() - start < moved_to + 1


async def test_a_moved_deadline_of_writing_is_forgotten_with_its_exchange(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The next request on the connection has the server's own again."""

    async def service(exchange: Exchange) -> None:
        if exchange.request_number == 1:
            exchange.deadlines.write = trio.current_time() + 1000
            await exchange.respond(ResponseHead(200, Headers()), b"short")
        else:
            await exchange.respond(ResponseHead(200, Headers()), b"x" * 300_000)

    async with open_in_process(service, timeouts=TIMEOUTS.replace(write_min_rate=0), max_buffer_bytes=SMALL) as site:
        async with await site.open_raw() as raw:
            await raw.send_all(GET)
            assert (await raw.read_response()).content == b"short"
            start = trio.current_time()
            await raw.send_all(GET)
            while site.server.statistics().open_connections:
                await trio.sleep(0.5)
            assert 30 <= trio.current_time() - start < 31
