"""Peers that send too much of something: what it costs has a bound, or grows no faster than what they sent."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock
from websocket_frames import BINARY, CONTINUATION, PING, PONG, TEXT, FramePeer, close, frame

from triohttp import WebSocketLimits, WebSocketTimeouts
from triohttp._wire.websocket import Close, WebSocketWire
from triohttp.errors import WebSocketClosedError
from triohttp.lowlevel import Role

MIB = 1024 * 1024
BOTH = pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
UNBOUND = WebSocketLimits(max_message_bytes=None, max_fragments=10**9)


def mask_for(role: Role) -> bool:
    return role is Role.SERVER


async def end_of_flood(role: Role, data: bytes) -> tuple[int, list[int]]:
    """Have an end receive a flood; return the code that it closes with, and the opcodes that it sent before."""
    answers: list[int] = []
    async with FramePeer.of(role) as (websocket, peer), trio.open_nursery() as nursery:

        async def pour() -> None:
            try:
                await peer.send(data)
            except trio.BrokenResourceError:
                pass  # it took no more

        async def read() -> None:
            while (received := await peer.receive())[0] not in (8, -1):
                answers.append(received[0])
            code.append(int.from_bytes(received[1][:2], "big"))

        code: list[int] = []
        nursery.start_soon(pour)
        nursery.start_soon(read)
        with pytest.raises(WebSocketClosedError) as caught:
            while True:
                await websocket.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert code == [caught.value.code]
        nursery.cancel_scope.cancel()
    return code[0], answers


@BOTH
@pytest.mark.parametrize("kind", [PING, PONG])
async def test_a_hundred_thousand_control_frames_are_cut_short(
    role: Role, kind: int, autojump_clock: MockClock
) -> None:
    """1008 after a thousand; of pings that come together the latest alone is answered, a pong never is."""
    code, answers = await end_of_flood(role, frame(kind, b"x", mask=mask_for(role)) * 100_000)
    assert code == 1008
    assert set(answers) <= {PONG}
    assert len(answers) <= (10 if kind == PING else 0)


@BOTH
@pytest.mark.parametrize("content", [b"", b"x"])
async def test_a_message_of_a_million_fragments_is_cut_short(
    role: Role, content: bytes, autojump_clock: MockClock
) -> None:
    """1008 after ``max_fragments``, whether they say something or not."""
    mask = mask_for(role)
    data = frame(TEXT, content, fin=False, mask=mask) + frame(CONTINUATION, content, fin=False, mask=mask) * MIB
    assert await end_of_flood(role, data) == (1008, [])


@BOTH
async def test_whatever_follows_a_close_is_thrown_away(role: Role, autojump_clock: MockClock) -> None:
    """A peer that goes on after its close frame costs neither memory nor more than a second."""
    mask = mask_for(role)
    async with FramePeer.of(role) as (websocket, peer), trio.open_nursery() as nursery:

        async def pour() -> None:
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await peer.send(frame(BINARY, bytes(50_000), mask=mask))
                    await trio.sleep(0.01)

        await peer.send(frame(TEXT, "last", mask=mask) + close(1000, mask=mask))
        nursery.start_soon(pour)
        assert [message async for message in websocket] == ["last"]
        began = trio.current_time()
        await websocket.aclose()
        assert trio.current_time() - began <= 1.1
    assert (websocket.close_code, websocket.closed_by) == (1000, "peer")


@BOTH
async def test_a_peer_that_pings_and_reads_nothing_is_dropped(role: Role, autojump_clock: MockClock) -> None:
    """One pong waits for it at most, and ``write_stall_seconds``; nothing piles up meanwhile."""
    timeouts = WebSocketTimeouts(write_stall_seconds=30)
    async with FramePeer.of(role, timeouts=timeouts, max_buffer_bytes=1000) as (websocket, peer):
        async with trio.open_nursery() as nursery:

            async def ping() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    while True:
                        await peer.send(frame(PING, bytes(100), mask=mask_for(role)))
                        await trio.sleep(0.02)

            nursery.start_soon(ping)
            began = trio.current_time()
            with pytest.raises(WebSocketClosedError, match="write_stall_seconds=30") as caught:
                await websocket.receive()
            assert caught.value.code == 1006
            assert 30 <= trio.current_time() - began <= 35


# -- what is allowed to be large ---------------------------------------------------------------------------------------


def in_fragments(count: int) -> int:
    """Take a message in fragments of a byte; return how many pieces came out."""
    data = frame(TEXT, "a", fin=False) + frame(CONTINUATION, "a", fin=False) * (count - 2) + frame(CONTINUATION, "a")
    return pieces_of(data, 65_536)


def in_reads(count: int) -> int:
    """Take a message in reads of a byte; return how many pieces came out."""
    return pieces_of(frame(TEXT, "a" * count), 1)


def in_pings(count: int) -> int:
    """Take that many pings, inside of a message; return how many came out."""
    return pieces_of(frame(TEXT, "a", fin=False) + frame(PING, "a") * count, 65_536)


def pieces_of(data: bytes, read: int) -> int:
    wire = WebSocketWire(Role.CLIENT, UNBOUND)
    count = 0
    for start in range(0, len(data), read):
        wire.receive(data[start : start + read])
        while (event := wire.next_event()) is not None:
            assert not isinstance(event, Close)
            count += 1
    return count


@pytest.mark.parametrize("way", [in_fragments, in_reads, in_pings])
def test_time_grows_with_the_bytes_and_no_faster(way: Callable[[int], int]) -> None:
    """Four times as much takes about four times as long; a quadratic one would take sixteen."""

    def seconds(count: int) -> float:
        began = time.process_time()
        assert way(count) in (count, count + 1)
        return time.process_time() - began

    seconds(1000)
    assert seconds(40_000) < 8 * min(seconds(10_000) for _ in range(3))


@pytest.mark.parametrize("fragment", [512, 4096])
async def test_memory_grows_with_the_message_and_no_faster(fragment: int) -> None:
    """A message of a megabyte in small pieces costs a few megabytes, however small they are."""
    content = bytes(MIB)
    data = frame(BINARY, content[:fragment], fin=False) + b"".join(
        frame(CONTINUATION, content[start : start + fragment], fin=start + fragment >= MIB)
        for start in range(fragment, MIB, fragment)
    )
    limits = WebSocketLimits(max_fragments=MIB)
    async with FramePeer.of(Role.CLIENT, limits=limits) as (websocket, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send, data)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            assert await websocket.receive() == content
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak - before < 4 * MIB
        nursery.cancel_scope.cancel()
