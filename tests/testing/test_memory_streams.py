"""Streams in memory keep trio's rules for streams and behave as TCP connections do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import check_half_closeable_stream, wait_all_tasks_blocked

from triohttp.testing import MemoryListener, MemoryStream, memory_stream_pair, reset_stream


async def test_a_memory_stream_passes_trios_own_checks() -> None:
    """Whatever trio asks of a half-closeable stream holds, blocked senders included."""

    async def make() -> tuple[MemoryStream, MemoryStream]:
        return memory_stream_pair()

    async def make_clogged() -> tuple[MemoryStream, MemoryStream]:
        one, other = memory_stream_pair(100)
        await one.send_all(b"x" * 100)
        await other.send_all(b"x" * 100)
        return one, other

    await check_half_closeable_stream(make, make_clogged)


async def test_a_sender_waits_for_a_peer_that_does_not_read() -> None:
    """The buffer is bounded: what does not fit is sent when the peer has read, and not a byte before."""
    one, other = memory_stream_pair(10)
    sent = False

    async def send() -> None:
        nonlocal sent
        await one.send_all(b"0123456789abcdefghijABCD")
        sent = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        received = []
        for max_bytes in (4, 9):
            await wait_all_tasks_blocked()
            assert (other.unread_bytes, sent) == (10, False)
            received.append(await other.receive_some(max_bytes))
        await wait_all_tasks_blocked()
        assert (other.unread_bytes, sent) == (10, False)
        received.append(await other.receive_some())
        await wait_all_tasks_blocked()
        assert (other.unread_bytes, sent) == (1, True)
    assert received == [b"0123", b"456789abc", b"defghijABC"]


async def test_a_cancelled_send_leaves_what_fitted() -> None:
    """A cancelled sender has sent what the peer's buffer took, as with a socket."""
    one, other = memory_stream_pair(3)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_all, b"abcdef")
            await wait_all_tasks_blocked()
            scope.cancel()
    assert await other.receive_some() == b"abc"
    assert other.unread_bytes == 0


async def test_a_half_closed_stream_still_receives() -> None:
    """After send_eof the peer reads an end, and what it sends still arrives."""
    one, other = memory_stream_pair()
    await one.send_all(b"question")
    await one.send_eof()
    await one.send_eof()
    assert await other.receive_some() == b"question"
    assert await other.receive_some() == b""
    await other.send_all(b"answer")
    assert await one.receive_some() == b"answer"
    with pytest.raises(trio.ClosedResourceError):
        await one.send_all(b"more")


@pytest.mark.parametrize("end", ["closes", "resets"])
async def test_whoever_waits_for_the_peer_is_told_that_it_left(end: str) -> None:
    """A receiver sees the end of a closed connection, and BrokenResourceError on a reset one, at once."""
    one, other = memory_stream_pair()
    outcome: list[object] = []

    async def receive() -> None:
        try:
            outcome.append(await other.receive_some())
        except trio.BrokenResourceError:
            outcome.append("broken")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        one.close() if end == "closes" else one.abort()
    assert outcome == [b"" if end == "closes" else "broken"]


async def test_a_reset_wakes_a_blocked_sender() -> None:
    """A sender that waits for room gets BrokenResourceError when the peer resets."""
    one, other = memory_stream_pair(1)
    with pytest.RaisesGroup(trio.BrokenResourceError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_all, b"xx")
            await wait_all_tasks_blocked()
            other.abort()


async def test_a_reset_destroys_what_was_not_read() -> None:
    """A reset is not an end: the peer gets no more of the data, not even what had arrived."""
    one, other = memory_stream_pair()
    await one.send_all(b"answer")
    one.abort()
    with pytest.raises(trio.BrokenResourceError):
        await other.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError):
        await other.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        await one.receive_some()


async def test_closing_with_unread_data_is_a_reset() -> None:
    """Who closes without having read everything destroys its own last words: RFC 1122 §4.2.2.13."""
    one, other = memory_stream_pair()
    await other.send_all(b"unread")
    await one.send_all(b"413")
    await one.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await other.receive_some()


async def test_what_was_sent_before_a_close_still_arrives() -> None:
    """Closing a connection on which everything was read is polite: data first, then the end."""
    one, other = memory_stream_pair()
    await one.send_all(b"last words")
    await one.aclose()
    assert one.closed
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"x")
    assert await other.receive_some() == b"last words"
    assert await other.receive_some() == b""


async def test_a_listener_hands_over_connections_in_order() -> None:
    """Connecting does not wait for accepting, and who came first is accepted first."""
    listener = MemoryListener()
    ends = [await listener.connect() for _ in range(3)]
    for number, end in enumerate(ends):
        await end.send_all(b"%d" % number)
    accepted = [await listener.accept() for _ in range(3)]
    assert [await end.receive_some() for end in accepted] == [b"0", b"1", b"2"]


async def test_a_closed_listener_refuses() -> None:
    """Closing resets who was not accepted, wakes who accepts, and refuses who comes later."""
    listener = MemoryListener()
    early = await listener.connect()
    await listener.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await early.receive_some()
    with pytest.raises(ConnectionRefusedError):
        await listener.connect()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()

    waiting = MemoryListener()
    with pytest.RaisesGroup(trio.ClosedResourceError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.accept)
            await wait_all_tasks_blocked()
            waiting.close()


async def test_a_cancelled_accept_loses_no_connection() -> None:
    """A connection that comes in while accept is cancelled is accepted by the next."""
    listener = MemoryListener()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.accept)
            await wait_all_tasks_blocked()
            scope.cancel()
            ours = await connect_shielded(listener.connect)
    await ours.send_all(b"here")
    assert await (await listener.accept()).receive_some() == b"here"


async def connect_shielded(connect: Callable[[], Awaitable[MemoryStream]]) -> MemoryStream:
    with trio.CancelScope(shield=True):
        return await connect()


async def test_a_tcp_connection_can_be_reset() -> None:
    """The peer of a reset TCP stream gets an error and not an end of stream."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1])
    server = await listeners[0].accept()
    reset_stream(client)
    reset_stream(client)
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()
    assert client.socket.fileno() == -1
    await server.aclose()
    await listeners[0].aclose()


def test_what_cannot_be_reset_is_named() -> None:
    """A stream of another kind is refused by name, and not closed politely instead."""
    with pytest.raises(TypeError, match="StapledStream cannot be reset"):
        reset_stream(trio.testing.memory_stream_pair()[0])
