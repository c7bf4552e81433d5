"""How a WebSocket ends: what the peer is told, what the program is told, and how long it may take."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from websocket_frames import BINARY, CLOSE, PING, PONG, TEXT, FramePeer, close, frame

from triohttp import WebSocket, WebSocketLimits, WebSocketTimeouts
from triohttp.errors import WebSocketClosedError
from triohttp.lowlevel import Role
from triohttp.testing import MemoryStream, memory_stream_pair

Clock = trio.testing.MockClock


async def serve_block(stream: MemoryStream, error: BaseException | None = None, **options: object) -> WebSocket:
    """Enter and leave the block of a server's WebSocket, by an exception if there is one."""
    websocket = WebSocket(stream, Role.SERVER, **options)  # type: ignore[arg-type]
    async with websocket:
        if error is not None:
            raise error
    return websocket


# -- the block --------------------------------------------------------------------------------------------------------


async def test_a_block_that_ends_closes_with_1000(autojump_clock: Clock) -> None:
    """The peer's answer is waited for, what it still sends is dropped, and its code is told."""
    ours, theirs = memory_stream_pair()
    peer = FramePeer(theirs)
    async with trio.open_nursery() as nursery:
        websocket = WebSocket(ours, Role.SERVER)

        @nursery.start_soon
        async def serve() -> None:
            async with websocket:
                pass

        assert await peer.receive() == (CLOSE, b"\x03\xe8")
        await peer.send(frame(TEXT, "too late", mask=True) + close(1000, "fine", mask=True))
        assert await peer.receive() == (-1, b"")  # the server ends its stream first
        await theirs.aclose()
    assert (websocket.close_code, websocket.close_reason, websocket.closed_by) == (1000, "fine", "self")
    assert trio.current_time() < 1


async def test_a_block_that_fails_closes_with_1011(autojump_clock: Clock) -> None:
    """The exception leaves the block as it is, after the peer was told, and no group is made of it."""
    ours, theirs = memory_stream_pair()
    peer = FramePeer(theirs)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert await peer.receive_close() == 1011
            await theirs.aclose()

        with pytest.raises(ZeroDivisionError):
            await serve_block(ours, ZeroDivisionError())


async def test_a_block_that_is_cancelled_closes_with_1001(autojump_clock: Clock) -> None:
    """The peer hears that this end goes away; one that does not answer holds it up for a second."""
    ours, theirs = memory_stream_pair()
    codes = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            codes.append(await FramePeer(theirs).receive_close())

        with trio.move_on_after(10) as scope:
            async with WebSocket(ours, Role.SERVER) as websocket:
                await websocket.receive()
        assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(11, abs=0.01)
    assert codes == [1001]


async def test_groups_of_the_program_are_left_alone(autojump_clock: Clock) -> None:
    """What a nursery of the program raises in the block comes out of it as it was raised."""
    ours, theirs = memory_stream_pair()
    await theirs.aclose()
    error = ExceptionGroup("the program's", [ValueError(), KeyError()])
    with pytest.raises(ExceptionGroup) as caught:
        await serve_block(ours, error)
    assert caught.value is error


async def test_a_close_that_is_not_answered_is_bounded(autojump_clock: Clock) -> None:
    """After ``close_seconds`` the connection is dropped, and the code says that there was no close."""
    ours, theirs = memory_stream_pair()
    websocket = await serve_block(ours, timeouts=WebSocketTimeouts(close_seconds=3))
    assert trio.current_time() == pytest.approx(3, abs=0.01)
    assert (websocket.close_code, websocket.closed_by) == (1006, "self")
    with pytest.raises(trio.BrokenResourceError):
        await theirs.receive_some()


async def test_a_peer_that_does_not_read_does_not_hold_up_the_close(autojump_clock: Clock) -> None:
    """A send that waits, and the close behind it, end with ``close_seconds``."""
    ours, _theirs = memory_stream_pair(100)
    async with trio.open_nursery() as nursery:
        websocket = WebSocket(ours, Role.SERVER)

        async def send() -> None:
            with pytest.raises(WebSocketClosedError):
                await websocket.send(bytes(10_000))

        async with websocket:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == pytest.approx(5, abs=0.01)


async def test_closing_says_what_it_is_told() -> None:
    """``aclose`` takes a code and a reason, refuses those that must not be sent, and may be called again."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer), trio.open_nursery() as nursery:
        for code, reason in ((999, ""), (1004, ""), (1005, ""), (1006, ""), (1015, ""), (2000, ""), (5000, "")):
            with pytest.raises(ValueError, match="close code"):
                await websocket.aclose(code, reason)
        with pytest.raises(ValueError, match="123 bytes"):
            await websocket.aclose(1000, "ü" * 62)
        nursery.start_soon(websocket.aclose, 4321, "moved")
        assert await peer.receive() == (CLOSE, b"\x10\xe1moved")
        await peer.send(close(4321, mask=True))
        await peer.receive()
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        await websocket.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await websocket.receive()
        with pytest.raises(trio.ClosedResourceError):
            await websocket.send("x")


async def test_a_cancelled_close_drops_the_connection(autojump_clock: Clock) -> None:
    """Giving up on the peer's answer leaves nothing open."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            assert (await peer.receive())[0] == CLOSE
            with pytest.raises(trio.BrokenResourceError):
                await peer.stream.receive_some()

        with trio.move_on_after(1):
            await websocket.aclose()
        assert trio.current_time() == pytest.approx(1)


# -- the peer closes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "code"), [(close(1000, mask=True), 1000), (frame(CLOSE, mask=True), 1005)])
async def test_messages_before_a_close_are_delivered_before_it(sent: bytes, code: int) -> None:
    """A clean close ends the loop after the last message, and is answered with the same code, or none."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        await peer.send(frame(TEXT, "one", mask=True) + frame(BINARY, b"two", mask=True) + sent)
        received = []
        async for message in websocket:
            received.append(message)
            await trio.testing.wait_all_tasks_blocked()
        assert received == ["one", b"two"]
        assert await peer.receive_close() == code
        assert (websocket.close_code, websocket.closed_by) == (code, "peer")
        with pytest.raises(trio.EndOfChannel):
            await websocket.receive()
        with pytest.raises(WebSocketClosedError) as caught:
            await websocket.send("too late")
        assert (caught.value.code, caught.value.by) == (code, "peer")


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1011, 1012, 1014, 3000, 4999])
async def test_a_close_that_says_something_went_wrong_is_an_error(code: int) -> None:
    """The loop does not end as if all were well; code and reason are in the error."""
    async with FramePeer.of(Role.CLIENT) as (websocket, peer):
        await peer.send(frame(TEXT, "one") + close(code, "because"))
        assert await websocket.receive() == "one"
        with pytest.raises(WebSocketClosedError, match="because") as caught:
            await websocket.receive()
        assert (caught.value.code, caught.value.reason, caught.value.by) == (code, "because", "peer")
        assert await peer.receive_close() == code


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_connection_that_ends_without_a_close_is_1006(how: str) -> None:
    """It is told as lost, by nobody, after the messages that came; nothing is sent any more."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        await peer.send(frame(TEXT, "one", mask=True))
        assert await websocket.receive() == "one"
        if how == "end":
            await peer.stream.send_eof()
        else:
            peer.reset()
        with pytest.raises(WebSocketClosedError) as caught:
            await websocket.receive()
        assert (caught.value.code, caught.value.by) == (1006, None)
        with pytest.raises(WebSocketClosedError):
            await websocket.send("x")


async def test_echoes_reach_a_peer_that_has_only_ended_its_sending() -> None:
    """A peer that closes its half of the stream without a close frame is not reset: it gets what was sent to it."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        await peer.send(frame(TEXT, "one", mask=True))
        await websocket.send(await websocket.receive())
        await peer.stream.send_eof()
        with pytest.raises(WebSocketClosedError):
            await websocket.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert await peer.receive() == (TEXT, b"one")
        assert await peer.receive() == (-1, b"")


async def test_echoes_go_out_before_a_breach_is_answered() -> None:
    """Messages in front of a broken frame are delivered and can be answered; then 1002 goes out and the stream ends."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        await peer.send(frame(TEXT, "one", mask=True) + frame(TEXT, "two", mask=True) + frame(3, mask=True))
        with pytest.raises(WebSocketClosedError) as caught:
            while True:
                await websocket.send(await websocket.receive())
        assert (caught.value.code, caught.value.by) == (1002, "self")
        assert [await peer.receive(), await peer.receive()] == [(TEXT, b"one"), (TEXT, b"two")]
        assert await peer.receive_close() == 1002
        assert await peer.receive() == (-1, b"")


async def test_a_message_that_is_too_large_is_refused_at_its_header() -> None:
    """1009 goes out before its content has come."""
    async with FramePeer.of(Role.SERVER, limits=WebSocketLimits(max_message_bytes=1000)) as (websocket, peer):
        await peer.send(frame(BINARY, bytes(1001), mask=True)[:8])
        with pytest.raises(WebSocketClosedError, match="max_message_bytes=1000"):
            await websocket.receive()
        assert await peer.receive_close() == 1009


async def test_a_flood_of_pings_is_answered_once_and_ended() -> None:
    """Only the latest ping is answered; a thousand in ten seconds are too many."""
    async with FramePeer.of(Role.SERVER, max_buffer_bytes=1_000_000) as (websocket, peer):
        await peer.send(b"".join(frame(PING, b"%d" % number, mask=True) for number in range(900)))
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(WebSocketClosedError, match="max_control_frames_per_second=100") as caught:
                    await websocket.receive()
                assert caught.value.code == 1008

            nursery.start_soon(receive)
            assert await peer.receive() == (PONG, b"899")
            await peer.send(frame(PING, mask=True) * 200)
            assert await peer.receive_close() == 1008


async def test_pings_that_are_spread_out_are_no_flood(autojump_clock: Clock) -> None:
    """The bound is an average over ten seconds: ninety a second go on for ever."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer), trio.open_nursery() as nursery:
        nursery.start_soon(websocket.receive)
        for _ in range(30):
            await peer.send(frame(PING, mask=True) * 90)
            await trio.sleep(1)
            assert (await peer.receive())[0] == PONG
        assert websocket.close_code is None
        nursery.cancel_scope.cancel()


# -- the heartbeat -----------------------------------------------------------------------------------------------------


async def test_a_close_in_the_moment_of_a_ping_ends_as_any_other(autojump_clock: Clock) -> None:
    """Whichever task comes first: the close goes out, is waited for, and the loop stays free for others."""
    for _ in range(20):
        async with FramePeer.of(Role.SERVER) as (websocket, peer), trio.open_nursery() as nursery:

            @nursery.start_soon
            async def answer() -> None:
                assert await peer.receive_close() == 1000
                await peer.send(close(1000, mask=True))

            await trio.sleep(20)
            await websocket.aclose()
            assert (websocket.close_code, websocket.closed_by) == (1000, "self")


@pytest.mark.parametrize("receives", [True, False])
async def test_a_dead_peer_is_found(autojump_clock: Clock, receives: bool) -> None:
    """After 20 seconds of silence it is pinged, 20 seconds later it is dead, whether or not the program receives."""
    ours, theirs = memory_stream_pair()
    async with WebSocket(ours, Role.SERVER) as websocket:
        if receives:
            with pytest.raises(WebSocketClosedError, match="pong_seconds=20") as caught:
                await websocket.receive()
            assert (caught.value.code, caught.value.by) == (1006, None)
            assert trio.current_time() == pytest.approx(40, abs=0.1)
        else:
            await trio.sleep(41)
            with pytest.raises(WebSocketClosedError, match="pong_seconds=20"):
                await websocket.send("x")
    with pytest.raises(trio.BrokenResourceError):  # and reset
        await theirs.receive_some()


async def test_a_peer_that_answers_lives(autojump_clock: Clock) -> None:
    """Pings go out each 20 seconds of silence, and whatever the peer says counts as life."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer), trio.open_nursery() as nursery:
        nursery.start_soon(websocket.receive)
        for _ in range(10):
            opcode, payload = await peer.receive()
            assert opcode == PING
            await peer.send(frame(PONG, payload, mask=True))
        assert trio.current_time() == pytest.approx(200, abs=1)
        for _ in range(10):
            await trio.sleep(15)
            await peer.send(frame(PONG, b"unasked", mask=True))  # so there is no reason to ask
        assert peer.stream.unread_bytes == 0
        nursery.cancel_scope.cancel()


async def test_time_that_the_program_spends_is_not_held_against_the_peer(autojump_clock: Clock) -> None:
    """A program that is away for minutes with a message held for it finds its WebSocket alive, the pong behind it."""
    async with FramePeer.of(Role.SERVER, max_buffer_bytes=1000) as (websocket, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            while (received := await peer.receive())[0] == PING:
                await peer.send(frame(PONG, received[1], mask=True))

        await peer.send(frame(TEXT, "one", mask=True) + frame(TEXT, "two", mask=True))
        for expected in ("one", "two"):
            await trio.sleep(300)
            assert await websocket.receive() == expected
        with trio.move_on_after(300) as scope:
            await websocket.receive()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("poll", [1, 5, 15])
async def test_a_program_that_polls_finds_a_dead_peer(autojump_clock: Clock, poll: float) -> None:
    """The time in which it listens adds up, however short each wait is."""
    ours, theirs = memory_stream_pair()
    async with WebSocket(ours, Role.SERVER) as websocket:
        with pytest.raises(WebSocketClosedError, match="pong_seconds=20"):
            while trio.current_time() < 100:
                with trio.move_on_after(poll):
                    await websocket.receive()
        assert trio.current_time() < 61
    await theirs.aclose()


async def test_a_loop_that_stood_still_kills_nobody(mock_clock: Clock) -> None:
    """When nothing ran for a minute, nobody was heard because nobody listened: the peer is asked anew."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            with pytest.raises(WebSocketClosedError):
                await websocket.receive()

        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.1)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(20.5)
        assert (await peer.receive())[0] == PING
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(70)
        assert (await peer.receive())[0] == PING
        await trio.testing.wait_all_tasks_blocked()
        assert websocket.close_code is None
        mock_clock.jump(20.5)
        await trio.testing.wait_all_tasks_blocked()
        assert websocket.close_code == 1006


# -- sending -----------------------------------------------------------------------------------------------------------


async def test_a_peer_that_takes_nothing_is_dropped(autojump_clock: Clock) -> None:
    """A send waits for ``write_stall_seconds`` and no longer, even when the peer answers pings meanwhile."""
    timeouts = WebSocketTimeouts(write_stall_seconds=30)
    async with FramePeer.of(Role.SERVER, max_buffer_bytes=100, timeouts=timeouts) as (websocket, _):
        with pytest.raises(WebSocketClosedError, match="write_stall_seconds=30"):
            await websocket.send(bytes(1000))
        assert trio.current_time() == pytest.approx(30, abs=0.1)


async def test_a_peer_that_talks_and_takes_nothing_is_dropped_too(autojump_clock: Clock) -> None:
    """A program that goes on receiving and working does not keep a send waiting for ever."""
    async with FramePeer.of(Role.SERVER, max_buffer_bytes=1000) as (websocket, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def talk() -> None:
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await peer.send(frame(TEXT, "hello", mask=True))
                    await trio.sleep(5)

        @nursery.start_soon
        async def receive() -> None:
            with pytest.raises(WebSocketClosedError):
                while True:
                    await websocket.receive()
                    await trio.sleep(0.15)

        with pytest.raises(WebSocketClosedError, match="write_stall_seconds=30"):
            await websocket.send(bytes(10_000))
        assert trio.current_time() == pytest.approx(30, abs=0.2)


async def test_who_sends_on_and_on_does_not_keep_pings_from_going_out(autojump_clock: Clock) -> None:
    """The turn is left to the keeper where a ping is due, also between two senders who hand it to each other."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer), trio.open_nursery() as nursery:

        async def send() -> None:
            while True:
                await websocket.send("x")
                await trio.sleep(0.5)

        async def hurry() -> None:
            while True:
                for _ in range(3):
                    await websocket.send("x" * 50_000)
                await trio.sleep(0.001)

        nursery.start_soon(send)
        nursery.start_soon(hurry)
        with trio.move_on_after(30):
            while (await peer.receive())[0] != PING:
                pass
        assert trio.current_time() < 21
        nursery.cancel_scope.cancel()


async def test_refused_sends_keep_nothing() -> None:
    """The error of a WebSocket that is over is raised again and again; it does not collect what it was raised for."""
    async with FramePeer.of(Role.SERVER) as (websocket, peer):
        peer.reset()
        with pytest.raises(WebSocketClosedError) as caught:
            await websocket.receive()
        for _ in range(100):
            with pytest.raises(WebSocketClosedError):
                await websocket.send("x" * 1000)
        depth, traceback = 0, caught.value.__traceback__
        while traceback is not None:
            depth, traceback = depth + 1, traceback.tb_next
        assert depth < 10


async def test_a_send_that_is_cancelled_in_the_middle_is_the_end(autojump_clock: Clock) -> None:
    """Half of a message cannot be taken back: the peer sees the connection break, and every later use is refused."""
    async with FramePeer.of(Role.SERVER, max_buffer_bytes=100) as (websocket, peer):
        with trio.move_on_after(1):
            await websocket.send(bytes(1000))
        with pytest.raises(WebSocketClosedError, match="a send did not finish"):
            await websocket.send("next")
        with pytest.raises(WebSocketClosedError):
            await websocket.receive()
        with pytest.raises(trio.BrokenResourceError):
            await peer.receive()


async def test_a_send_that_is_cancelled_in_its_turn_did_nothing(autojump_clock: Clock) -> None:
    """A sender that waits for another one may be cancelled, and the other's message arrives whole."""
    async with FramePeer.of(Role.SERVER, max_buffer_bytes=100) as (websocket, peer), trio.open_nursery() as nursery:
        nursery.start_soon(websocket.send, b"a" * 1000)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await websocket.send("never")
        assert scope.cancelled_caught
        assert await peer.receive() == (BINARY, b"a" * 1000)
        await websocket.send("then")
        assert await peer.receive() == (TEXT, b"then")


# -- leaving -----------------------------------------------------------------------------------------------------------


async def test_a_program_that_does_not_hear_of_the_end_is_cancelled_when_it_asked_for_it(
    autojump_clock: Clock,
) -> None:
    """Five seconds after the peer has left, a block that waits elsewhere ends; one that heard of it goes on."""
    for hears in (False, True):
        began = trio.current_time()
        ours, theirs = memory_stream_pair()
        finished = False
        async with WebSocket(ours, Role.SERVER, cancel_on_leave=True) as websocket:
            await theirs.send_all(close(1000, mask=True))
            await theirs.aclose()
            if hears:
                with pytest.raises(trio.EndOfChannel):
                    await websocket.receive()
            await trio.sleep(100)
            finished = True
        assert finished is hears
        assert trio.current_time() - began == pytest.approx(100 if hears else 5, abs=0.2)


@pytest.mark.parametrize("ignores", [True, False])
async def test_a_program_that_only_sends_can_say_so(autojump_clock: Clock, ignores: bool) -> None:
    """Messages that nobody wants are dropped, so that the close behind them is heard and answered at once."""
    async with FramePeer.of(Role.SERVER, cancel_on_leave=True) as (websocket, peer):
        if ignores:
            websocket.ignore_messages()
        await peer.send(frame(TEXT, "anybody there?", mask=True) * 3 + close(1000, mask=True))
        with trio.move_on_after(5) as scope:
            assert await peer.receive_close() == 1000
        assert scope.cancelled_caught is not ignores
        if ignores:
            with pytest.raises(trio.EndOfChannel):
                await websocket.receive()


@pytest.mark.parametrize("field", ["ping_seconds", "pong_seconds", "close_seconds", "write_stall_seconds"])
def test_no_time_at_all_is_refused(field: str) -> None:
    """Zero lifts nothing: the message says what does."""
    with pytest.raises(ValueError, match=rf"{field} must be above 0; math.inf lifts it"):
        WebSocketTimeouts(**{field: 0})


async def test_messages_that_wait_keep_a_program_from_being_cancelled(autojump_clock: Clock) -> None:
    """A program that is busy with one message gets the next one, and the end after it, however long it takes."""
    ours, theirs = memory_stream_pair()
    received = []
    async with WebSocket(ours, Role.SERVER, cancel_on_leave=True) as websocket:
        await theirs.send_all(frame(TEXT, "one", mask=True) + frame(TEXT, "two", mask=True) + close(1000, mask=True))
        await theirs.send_eof()
        async for message in websocket:
            received.append(message)
            await trio.sleep(4)
    assert received == ["one", "two"]
    await theirs.aclose()
