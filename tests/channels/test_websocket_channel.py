"""The channel: what is received and sent, by whom, and in what order, over streams in memory."""

from __future__ import annotations

import math
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from websocket_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FramePeer, frame

from triohttp import WebSocket, WebSocketLimits, WebSocketTimeouts
from triohttp.errors import WebSocketClosedError
from triohttp.lowlevel import Agreement, Role
from triohttp.testing import memory_stream_pair


@asynccontextmanager
async def open_pair(max_buffer_bytes: int = 65_536) -> AsyncIterator[tuple[WebSocket, WebSocket]]:
    """Two ends of one WebSocket: the server's and the client's."""
    ours, theirs = memory_stream_pair(max_buffer_bytes)
    async with WebSocket(ours, Role.SERVER) as server, trio.open_nursery() as nursery:
        ended = trio.Event()

        async def hold(task_status: trio.TaskStatus[WebSocket]) -> None:
            async with WebSocket(theirs, Role.CLIENT) as client:
                task_status.started(client)
                await ended.wait()

        client = await nursery.start(hold)
        yield server, client
        ended.set()


async def test_messages_go_both_ways_as_what_they_are() -> None:
    """Text stays text and binary stays binary, empty ones and those of many frames included."""
    messages: list[str | bytes] = [
        "a",
        b"a",
        "",
        b"",
        "x" * 5000,
        bytes(5000),
        "ü" * 70_000,
        bytes(200_000),
        "z" * 65_536,
        "\N{GRINNING FACE}",
    ]
    async with open_pair() as (server, client), trio.open_nursery() as nursery:

        async def echo() -> None:
            async for message in server:
                await server.send(message)

        nursery.start_soon(echo)
        for message in messages:
            await client.send(message)
            received = await client.receive()
            assert received == message
            assert type(received) is type(message)
        nursery.cancel_scope.cancel()


async def test_bytes_of_any_kind_are_sent_as_binary() -> None:
    """A bytearray and a memoryview are bytes to the other end; anything else is refused before it is sent."""
    async with open_pair() as (server, client):
        await server.send(bytearray(b"ab"))
        await server.send(memoryview(b"cd"))
        assert [await client.receive(), await client.receive()] == [b"ab", b"cd"]
        with pytest.raises(TypeError, match="str or bytes"):
            await server.send(5)  # type: ignore[arg-type]
        with pytest.raises(UnicodeEncodeError):
            await server.send("half \ud800 pair")
        with pytest.raises(UnicodeEncodeError):
            await server.send("x" * 70_000 + "\ud800")
        await server.send("still open")
        assert await client.receive() == "still open"


async def test_messages_of_many_senders_stay_whole() -> None:
    """Twenty tasks send large messages into a small buffer; each arrives in one piece, and each sender's in order."""
    async with open_pair(max_buffer_bytes=1000) as (server, client), trio.open_nursery() as nursery:

        async def send(number: int) -> None:
            for count in range(5):
                await server.send(f"{number}:{count}:" + chr(97 + number) * 100_000)

        for number in range(20):
            nursery.start_soon(send, number)
        seen: dict[int, list[int]] = {number: [] for number in range(20)}
        for _ in range(100):
            message = await client.receive()
            assert isinstance(message, str)
            number, count, text = message.split(":")
            assert text == chr(97 + int(number)) * 100_000
            seen[int(number)].append(int(count))
        assert all(counts == [0, 1, 2, 3, 4] for counts in seen.values())


async def test_one_task_receives() -> None:
    """A second receiver is told so at once, and the first is not disturbed."""
    async with open_pair() as (server, client), trio.open_nursery() as nursery:
        received = []

        async def first() -> None:
            received.append(await server.receive())

        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await server.receive()
        await client.send("for the first")
        await trio.testing.wait_all_tasks_blocked()
        assert received == ["for the first"]


@pytest.mark.parametrize("pieces", [["whole"], ["in", "pie", "ces"]])
async def test_a_cancelled_receive_loses_nothing(pieces: list[str]) -> None:
    """A receive that is given up in the middle of a message is taken up by the next."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        for number, piece in enumerate(pieces):
            with trio.move_on_after(0) as scope:
                await websocket.receive()
            assert scope.cancelled_caught
            await peer.send(frame(CONTINUATION if number else TEXT, piece, fin=number == len(pieces) - 1, mask=True))
            with trio.move_on_after(0):
                if number < len(pieces) - 1:
                    await trio.testing.wait_all_tasks_blocked()
                    await websocket.receive()
        assert await websocket.receive() == "".join(pieces)


async def test_a_large_message_can_be_taken_in_chunks(autojump_clock: trio.testing.MockClock) -> None:
    """Chunks come as the frames do, before the message is complete; its end ends the loop, the next one is whole."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        await peer.send(frame(TEXT, "one ", fin=False, mask=True))
        chunks = websocket.receive_chunks()
        assert await anext(chunks) == "one "
        await peer.send(frame(CONTINUATION, "two", mask=True) + frame(TEXT, "next", mask=True))
        assert [chunk async for chunk in chunks] == ["two"]
        assert await websocket.receive() == "next"


async def test_the_rest_of_a_message_that_is_left_early_is_skipped() -> None:
    """Whoever leaves the loop over chunks does not get the rest as a message."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        await peer.send(
            frame(TEXT, "a", fin=False, mask=True)
            + frame(CONTINUATION, "b", fin=False, mask=True)
            + frame(CONTINUATION, "c", mask=True)
            + frame(TEXT, "next", mask=True)
            + frame(TEXT, "last", mask=True)
        )
        async for chunk in websocket.receive_chunks():
            assert chunk == "a"
            break
        assert [chunk async for chunk in websocket.receive_chunks()] == ["next"]
        assert await websocket.receive() == "last"


async def test_chunks_tell_the_end_of_the_channel_from_a_message_without_any() -> None:
    """An empty message is a chunk that is empty; the end of the channel is raised, as ``receive`` raises it."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        await peer.send(frame(TEXT, "", mask=True) + frame(CLOSE, b"\x03\xe8", mask=True))
        assert [chunk async for chunk in websocket.receive_chunks()] == [""]
        with pytest.raises(trio.EndOfChannel):
            async for _ in websocket.receive_chunks():
                pass


async def test_chunks_of_one_message_never_go_on_with_another() -> None:
    """An iterator whose message was left for another one is over."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        await peer.send(
            frame(TEXT, "a", fin=False, mask=True)
            + frame(CONTINUATION, "b", mask=True)
            + frame(TEXT, "next", mask=True)
            + frame(TEXT, "c", fin=False, mask=True)
            + frame(CONTINUATION, "d", mask=True)
        )
        old = websocket.receive_chunks()
        assert await anext(old) == "a"
        assert await websocket.receive() == "next"
        with pytest.raises(StopAsyncIteration):
            await anext(old)
        new = websocket.receive_chunks()
        assert await anext(new) == "c"
        with pytest.raises(StopAsyncIteration):
            await anext(old)
        assert [chunk async for chunk in new] == ["d"]


async def test_chunks_of_a_compressed_message_without_a_bound_are_bounded() -> None:
    """Sixty megabytes that came as sixty kilobytes are handed out bit by bit."""
    agreement = Agreement(server_takeover=False, client_takeover=False)
    limits = WebSocketLimits(max_message_bytes=None)
    compressor = zlib.compressobj(wbits=-15)
    content = compressor.compress(bytes(60_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    options = {"agreement": agreement, "limits": limits, "max_buffer_bytes": 100_000}
    async with FramePeer.of(Role.SERVER, **options) as (websocket, peer):
        await peer.send(frame(BINARY, content[:-4], mask=True, rsv=4))
        sizes = [len(chunk) async for chunk in websocket.receive_chunks()]
        assert sum(sizes) == 60_000_000
        assert max(sizes) < 5_000_000


async def test_chunks_lift_the_bound_on_memory_with_the_bound_on_messages() -> None:
    """Without ``max_message_bytes``, a message of 20 MB passes through in chunks of at most 64 KiB."""
    ours, theirs = memory_stream_pair()
    limits = WebSocketLimits(max_message_bytes=None)
    async with WebSocket(ours, Role.SERVER, limits=limits) as server, trio.open_nursery() as nursery:

        async def send() -> None:
            async with WebSocket(theirs, Role.CLIENT) as client:
                await client.send(bytes(20_000_000))

        nursery.start_soon(send)
        sizes = [len(chunk) async for chunk in server.receive_chunks()]
        assert sum(sizes) == 20_000_000
        assert max(sizes) <= 65_536


async def test_pings_are_answered_while_the_program_is_elsewhere(autojump_clock: trio.testing.MockClock) -> None:
    """A program that never receives keeps its WebSocket alive: the ping is answered, with its payload, soon."""
    async with FramePeer.of(Role.SERVER) as (_, peer):
        await peer.send(frame(PING, b"are you there", mask=True))
        began = trio.current_time()
        assert await peer.receive() == (PONG, b"are you there")
        assert trio.current_time() - began < 0.2


async def test_a_program_that_has_just_received_is_away_too(autojump_clock: trio.testing.MockClock) -> None:
    """A keeper that was busy when a message was delivered still looks whether the program comes back."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer), trio.open_nursery() as nursery:
        nursery.start_soon(websocket.receive)
        await trio.sleep(1)
        await peer.send(frame(PING, b"one", mask=True) + frame(TEXT, "message", mask=True))
        assert await peer.receive() == (PONG, b"one")
        await trio.sleep(1)
        began = trio.current_time()
        await peer.send(frame(PING, b"two", mask=True))
        assert await peer.receive() == (PONG, b"two")
        assert trio.current_time() - began < 0.2


async def test_pings_are_answered_between_the_frames_of_a_large_message() -> None:
    """A ping need not wait until a message of a megabyte has been taken."""
    async with FramePeer.of(Role.SERVER, max_buffer_bytes=1000) as (websocket, peer), trio.open_nursery() as nursery:
        nursery.start_soon(websocket.send, bytes(1_000_000))
        with trio.move_on_after(5):
            nursery.start_soon(websocket.receive)
            await peer.send(frame(PING, b"x", mask=True))
            opcodes = [(await peer.receive())[0] for _ in range(17)]
        assert PONG in opcodes[:4]
        nursery.cancel_scope.cancel()


async def test_only_one_piece_is_read_for_a_program_that_is_busy(autojump_clock: trio.testing.MockClock) -> None:
    """A peer that sends faster than the program receives is held up by its own stream; nothing piles up here."""
    async with FramePeer.of(Role.SERVER, max_buffer_bytes=1000) as (websocket, peer):
        with trio.move_on_after(10):
            while True:
                await peer.send(frame(TEXT, "x" * 500, mask=True))
        assert peer.sent < 5000
        for _ in range(peer.sent // 510):
            assert await websocket.receive() == "x" * 500


async def test_a_program_can_measure_the_way() -> None:
    """``ping`` returns the seconds to the pong, whether or not somebody receives."""
    async with open_pair() as (server, client):
        assert 0 <= await server.ping() < 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.receive)
            await trio.testing.wait_all_tasks_blocked()
            assert 0 <= await client.ping() < 1
            nursery.cancel_scope.cancel()


async def test_a_ping_hears_of_the_end() -> None:
    """A connection that is lost while a pong is awaited ends the wait with the error of the WebSocket."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def leave() -> None:
            assert (await peer.receive())[0] == PING
            peer.reset()

        with pytest.raises(WebSocketClosedError):
            await websocket.ping()


async def test_it_is_used_inside_its_block() -> None:
    """Before the block there is no channel yet, and behind it there is none any more."""
    ours, _ = memory_stream_pair()
    websocket = WebSocket(ours, Role.SERVER)
    for use in (websocket.receive, lambda: websocket.send("x"), websocket.ping):
        with pytest.raises(RuntimeError, match="async with"):
            await use()
    async with FramePeer.of(Role.SERVER) as (used, _):
        with pytest.raises(RuntimeError, match="once"):
            await used.__aenter__()
    for use in (used.receive, lambda: used.send("x"), used.ping):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    await websocket.aclose()


async def test_many_messages_that_are_there_already_leave_room_for_others() -> None:
    """A program that takes what has come in does not hold up the other tasks for long, though it never has to wait."""
    async with FramePeer.of(Role.SERVER, max_buffer_bytes=1_000_000) as (websocket, peer):
        await peer.send(frame(TEXT, "", mask=True) * 10_000)
        steps = 0

        async def count() -> None:
            nonlocal steps
            while True:
                await trio.lowlevel.checkpoint()
                steps += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for _ in range(10_000):
                assert await websocket.receive() == ""
            nursery.cancel_scope.cancel()
        assert steps > 10


async def test_bounds_that_are_lifted_are_lifted() -> None:
    """``math.inf`` turns the heartbeat off: a day of silence is nothing."""
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def main() -> None:
        ours, theirs = memory_stream_pair()
        timeouts = WebSocketTimeouts(ping_seconds=math.inf)
        async with WebSocket(ours, Role.SERVER, timeouts=timeouts) as websocket:
            with trio.move_on_after(86_400):
                await websocket.receive()
            assert websocket.close_code is None
            await theirs.send_all(frame(CLOSE, b"\x03\xe8", mask=True))
            with pytest.raises(trio.EndOfChannel):
                await websocket.receive()
        await theirs.aclose()

    await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock))
