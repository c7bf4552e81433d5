"""Faults do to a stream what they say, in one direction, repeatably, and alone or together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, check_half_closeable_stream, wait_all_tasks_blocked

from triohttp.testing import (
    BlackHole,
    Clog,
    Cut,
    Delay,
    Dribble,
    FaultyOrigin,
    FaultyStream,
    MemoryListener,
    MemoryStream,
    memory_stream_pair,
)


@asynccontextmanager
async def open_tcp_pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        async with client, await listener.accept() as server:
            yield client, server


async def test_without_faults_it_is_a_stream_like_any_other() -> None:
    """A stream with an empty plan passes trio's own checks."""

    async def make() -> tuple[FaultyStream, FaultyStream]:
        one, other = memory_stream_pair()
        return FaultyStream(one), FaultyStream(other)

    await check_half_closeable_stream(make, None)


async def test_dribbling_cuts_what_arrives_into_pieces() -> None:
    """Each receive gives at most so many bytes, and all of them come."""
    one, other = memory_stream_pair()
    slow = FaultyStream(other, receiving=[Dribble(3)])
    await one.send_all(b"abcdefgh")
    assert [await slow.receive_some() for _ in range(3)] == [b"abc", b"def", b"gh"]


async def test_dribbling_cuts_what_is_sent_into_pieces(autojump_clock: MockClock) -> None:
    """A sender that dribbles slowly lets its peer see every piece by itself."""
    one, other = memory_stream_pair()
    slow = FaultyStream(one, sending=[Dribble(1), Delay(1.0)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow.send_all, b"abc")
        assert [await other.receive_some() for _ in range(3)] == [b"a", b"b", b"c"]


async def test_varied_pieces_are_the_same_for_the_same_seed() -> None:
    """Chance comes from the seed alone."""

    async def pieces(seed: int) -> list[bytes]:
        one, other = memory_stream_pair()
        stream = FaultyStream(other, receiving=[Dribble(10, varied=True)], seed=seed)
        await one.send_all(b"x" * 100)
        await one.aclose()
        found = []
        while piece := await stream.receive_some():
            found.append(piece)
        return found

    assert await pieces(1) == await pieces(1)
    assert await pieces(1) != await pieces(2)
    assert b"".join(await pieces(3)) == b"x" * 100


async def test_delays_take_virtual_seconds(autojump_clock: MockClock) -> None:
    """Each piece is late by its delay, on the way in and on the way out; several delays add up."""
    one, other = memory_stream_pair()
    late = FaultyStream(other, receiving=[Delay(2.0), Delay(0.5)], sending=[Delay(10.0)])
    await one.send_all(b"x")
    start = trio.current_time()
    assert await late.receive_some() == b"x"
    assert trio.current_time() - start == pytest.approx(2.5)
    await late.send_all(b"y")
    assert trio.current_time() - start == pytest.approx(12.5)
    assert await one.receive_some() == b"y"


async def test_a_cancelled_wait_for_a_late_piece_loses_nothing(autojump_clock: MockClock) -> None:
    """What had arrived but was not due yet is there for the next call, an end of stream included."""
    one, other = memory_stream_pair()
    late = FaultyStream(other, receiving=[Delay(5.0)])
    await one.send_all(b"abc")
    with trio.move_on_after(1):
        await late.receive_some()
    assert await late.receive_some(2) == b"ab"
    assert await late.receive_some() == b"c"
    await one.aclose()
    with trio.move_on_after(1):
        await late.receive_some()
    assert await late.receive_some() == b""
    assert trio.current_time() == pytest.approx(10.0)


async def test_a_clog_stops_both_until_it_is_released() -> None:
    """After its bytes nothing moves, and a release lets the rest flow."""
    one, other = memory_stream_pair()
    clogged = FaultyStream(other, receiving=[Clog(2)], sending=[Clog(3)])
    received: list[bytes] = []

    async def receive() -> None:
        while len(b"".join(received)) < 4:
            received.append(await clogged.receive_some())

    await one.send_all(b"1234")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(clogged.send_all, b"abcdef")
        await wait_all_tasks_blocked()
        assert received == [b"12"]
        assert await one.receive_some() == b"abc"
        clogged.release()
    assert received == [b"12", b"34"]
    assert await one.receive_some() == b"def"


async def test_a_polite_cut_half_closes() -> None:
    """After its last byte the peer reads an end, though nothing more was sent; the other direction works."""
    one, other = memory_stream_pair()
    cut = FaultyStream(other, sending=[Cut(3)])
    await cut.send_all(b"abc")
    assert await one.receive_some() == b"abc"
    assert await one.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await cut.send_all(b"d")
    await one.send_all(b"still here")
    assert await cut.receive_some() == b"still here"


async def test_a_cut_inside_of_a_send_breaks_the_sender() -> None:
    """A sender learns that not all of it went, and the peer has what went before."""
    one, other = memory_stream_pair()
    cut = FaultyStream(other, sending=[Cut(2)])
    with pytest.raises(trio.BrokenResourceError):
        await cut.send_all(b"abc")
    assert await one.receive_some() == b"ab"
    assert await one.receive_some() == b""


async def test_a_cut_before_the_first_byte() -> None:
    """Nothing goes through in either direction, and the peer is told."""
    one, other = memory_stream_pair()
    cut = FaultyStream(other, sending=[Cut(0)], receiving=[Cut(0)])
    await one.send_all(b"lost")
    assert await cut.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await cut.send_all(b"x")
    assert await one.receive_some() == b""


async def test_a_reset_while_receiving_breaks_both_ends() -> None:
    """The bytes before the cut come, then both ends are broken."""
    one, other = memory_stream_pair()
    cut = FaultyStream(other, receiving=[Cut(2, "reset")])
    await one.send_all(b"abcd")
    assert await cut.receive_some() == b"ab"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await cut.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await one.send_all(b"x")
    await cut.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await cut.receive_some()


async def test_a_reset_while_sending_on_tcp() -> None:
    """The same plan works on a socket: the peer gets an error and not an end."""
    async with open_tcp_pair() as (client, server):
        cut = FaultyStream(client, sending=[Cut(5, "reset")])
        await cut.send_all(b"hello")
        with pytest.raises(trio.BrokenResourceError):
            while await server.receive_some():
                pass


async def test_a_black_hole_swallows_without_a_word() -> None:
    """Sending succeeds and goes nowhere, an end of stream too; receiving waits until the stream is closed."""
    one, other = memory_stream_pair()
    hole = FaultyStream(other, sending=[BlackHole(1)], receiving=[BlackHole()])
    await hole.send_all(b"ab")
    await hole.send_all(b"cd")
    await hole.wait_send_all_might_not_block()
    await hole.send_eof()
    await one.send_all(b"unheard")
    assert await one.receive_some() == b"a"
    with pytest.RaisesGroup(trio.ClosedResourceError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hole.receive_some)
            await wait_all_tasks_blocked()
            assert one.unread_bytes == 0
            assert other.unread_bytes == 7
            await hole.aclose()


async def test_faults_combine(autojump_clock: MockClock) -> None:
    """A trickle that is cut: one byte a second, and an end after the third."""
    one, other = memory_stream_pair()
    slow = FaultyStream(other, receiving=[Dribble(1), Delay(1.0), Cut(3)])
    await one.send_all(b"abcdef")
    assert [await slow.receive_some() for _ in range(4)] == [b"a", b"b", b"c", b""]
    assert trio.current_time() == pytest.approx(3.0)


async def test_an_origin_gives_its_first_connections_faults() -> None:
    """Only as many connections as wanted are faulty, so that what comes after a fault can be tried."""
    listener = MemoryListener()
    origin = FaultyOrigin(listener, sending=[Cut(0)], connections=1)
    first, second = await origin.connect(), await origin.connect()
    assert origin.streams == [first, second]
    with pytest.raises(trio.BrokenResourceError):
        await first.send_all(b"x")
    await second.send_all(b"x")
    accepted: list[MemoryStream] = [await listener.accept() for _ in range(2)]
    assert [await end.receive_some() for end in accepted] == [b"", b"x"]
