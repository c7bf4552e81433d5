from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from triohttp._connection.transport import SocketTransport, StreamTransport, Transport, Woken, transport_for
from triohttp.testing import memory_stream_pair, reset_stream


class Peer:
    """The other end of a transport under test."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, sock: socket.socket | None) -> None:
        self.stream = stream
        self._sock = sock

    async def reset(self) -> None:
        if self._sock is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            await self.stream.aclose()
        else:
            reset_stream(self.stream)


@asynccontextmanager
async def open_pair(kind: str) -> AsyncIterator[tuple[Transport, Peer]]:
    """Open a transport and its peer: a raw socket, a stream in memory, or a foreign stream over a socket."""
    if kind == "memory":
        ours, theirs = memory_stream_pair()
        transport: Transport = transport_for(ours)
        peer = Peer(theirs, None)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            far = socket.create_connection(listener.getsockname())
            near, _ = listener.accept()
        far.setblocking(False)
        near.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(far))
        peer = Peer(stream, far)
        transport = SocketTransport(near)
        if kind == "stream":
            transport = StreamTransport(trio.SocketStream(trio.socket.from_stdlib_socket(near)))
    try:
        yield transport, peer
    finally:
        transport.abort()
        await trio.aclose_forcefully(peer.stream)


@pytest.fixture(params=["socket", "stream", "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_bytes_and_the_end_of_the_stream_arrive(kind: str) -> None:
    """What the peer sends is received; its end is empty bytes."""
    async with open_pair(kind) as (transport, peer):
        await peer.stream.send_all(b"hello")
        assert await transport.receive(100) == b"hello"
        await peer.stream.send_eof()
        assert await transport.receive(100) == b""


async def test_a_woken_receive_raises_and_the_transport_stays_usable(kind: str, nursery: trio.Nursery) -> None:
    """wake_reader ends the wait in place; nothing is lost and the next receive works."""
    async with open_pair(kind) as (transport, peer):
        nursery.start_soon(wake_when_reading, transport, "timeout")
        with pytest.raises(Woken) as caught:
            await transport.receive(100)
        assert caught.value.why == "timeout"
        await peer.stream.send_all(b"later")
        assert await transport.receive(100) == b"later"


async def wake_when_reading(transport: Transport, why: str) -> None:
    while not transport.reading:
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()
    transport.wake_reader(why)


async def test_a_wake_that_meets_nobody_is_forgotten(kind: str) -> None:
    """A wake without a waiter does not end the next wait."""
    async with open_pair(kind) as (transport, peer):
        transport.wake_reader("timeout")
        transport.wake_writer("timeout")
        await peer.stream.send_all(b"x")
        assert await transport.receive(100) == b"x"


async def test_waking_the_reader_leaves_a_waiting_writer_alone(kind: str) -> None:
    """One notification wakes both waits of a socket; only the one that was meant ends."""
    async with open_pair(kind) as (transport, peer):
        sent = trio.Event()
        payload = b"z" * 20_000_000

        async def write() -> None:
            await transport.send_all(payload, None)
            sent.set()

        async with trio.open_nursery() as inner:
            inner.start_soon(write)
            inner.start_soon(wake_when_reading, transport, "drain")
            with pytest.raises(Woken):
                await transport.receive(100)
            assert not sent.is_set()
            received = 0
            while received < len(payload):
                received += len(await peer.stream.receive_some(1_000_000))
        assert sent.is_set()


async def test_a_woken_send_raises(kind: str, nursery: trio.Nursery) -> None:
    """wake_writer ends a send that waits for the peer."""
    async with open_pair(kind) as (transport, _):

        async def wake() -> None:
            while not transport.writing:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            transport.wake_writer("timeout")

        nursery.start_soon(wake)
        with pytest.raises(Woken):
            await transport.send_all(b"z" * 50_000_000, None)


async def test_a_reset_is_a_broken_resource(kind: str) -> None:
    """A peer that resets the connection breaks both directions."""
    async with open_pair(kind) as (transport, peer):
        await peer.reset()
        with pytest.raises(trio.BrokenResourceError):
            await transport.receive(100)
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(3):
                await transport.send_all(b"x" * 1000, None)


async def test_closing_wakes_whoever_waits(kind: str, nursery: trio.Nursery) -> None:
    """A receive that waits while its transport is closed ends, with trio's word for it or ours."""
    async with open_pair(kind) as (transport, _):

        async def close() -> None:
            while not transport.reading:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            transport.close()

        nursery.start_soon(close)
        with pytest.raises((trio.ClosedResourceError, Woken)):
            await transport.receive(100)
        assert transport.closed
        with pytest.raises(trio.ClosedResourceError):
            await transport.send_all(b"x", None)


async def test_two_tasks_cannot_receive_at_once(kind: str, nursery: trio.Nursery) -> None:
    """The second receiver gets trio's BusyResourceError, and the first keeps its wait."""
    async with open_pair(kind) as (transport, peer):
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await transport.receive(100))

        async with trio.open_nursery() as inner:
            inner.start_soon(receive)
            while not transport.reading:
                await trio.lowlevel.checkpoint()
            with pytest.raises(trio.BusyResourceError):
                await transport.receive(100)
            await peer.stream.send_all(b"one")
        assert got == [b"one"]


async def test_a_cancelled_receive_loses_nothing(kind: str) -> None:
    """A receive that is cancelled leaves every byte to the next one."""
    async with open_pair(kind) as (transport, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.receive(100)
        assert scope.cancelled_caught
        await peer.stream.send_all(b"still here")
        assert await transport.receive(100) == b"still here"


async def test_a_fast_reader_does_not_keep_the_scheduler_from_deadlines(nursery: trio.Nursery) -> None:
    """Sends that never have to wait still yield: a cancellation from another task gets in between."""
    async with open_pair("socket") as (transport, peer):

        async def read() -> None:
            with suppress(trio.ClosedResourceError):
                while await peer.stream.receive_some(1_000_000):
                    pass

        nursery.start_soon(read)
        with trio.CancelScope() as scope:

            async def stop() -> None:
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(stop)
            while True:
                await transport.send_all(b"x" * 1000, None)
                await trio.lowlevel.checkpoint_if_cancelled()
        assert scope.cancelled_caught


async def test_quiet_means_neither_bytes_nor_an_end(kind: str) -> None:
    """is_quiet tells without reading whether an idle connection has heard from its peer."""
    async with open_pair(kind) as (transport, peer):
        assert transport.is_quiet()
        await peer.stream.send_all(b"surprise")
        await trio.testing.wait_all_tasks_blocked()
        quiet = transport.is_quiet()
        assert not quiet
        assert await transport.receive(100) == b"surprise"


async def test_a_look_keeps_what_it_brings_for_the_next_reader() -> None:
    """A look ahead on a stream hands its bytes to the next receive, and its end for ever."""
    async with open_pair("memory") as (transport, peer):
        assert isinstance(transport, StreamTransport)
        await peer.stream.send_all(b"early")
        assert await transport.look() == b"early"
        assert await transport.receive(100) == b"early"
        await peer.stream.send_eof()
        assert await transport.look() == b""
        assert await transport.receive(100) == b""
        assert await transport.receive(100) == b""


async def test_a_look_hears_of_a_reset() -> None:
    """A look at a stream whose peer is gone says so, and the next receive raises it."""
    async with open_pair("memory") as (transport, peer):
        assert isinstance(transport, StreamTransport)
        await peer.reset()
        assert await transport.look() is None
        with pytest.raises(trio.BrokenResourceError):
            await transport.receive(100)


async def test_a_receive_waits_for_a_look_that_is_going_on(nursery: trio.Nursery) -> None:
    """While a look is under way a reader waits for it instead of reading beside it."""
    async with open_pair("memory") as (transport, peer):
        assert isinstance(transport, StreamTransport)
        nursery.start_soon(transport.look)
        await trio.testing.wait_all_tasks_blocked()

        async def feed() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await peer.stream.send_all(b"shared")

        nursery.start_soon(feed)
        assert await transport.receive(100) == b"shared"


def test_a_stream_that_cannot_be_closed_synchronously_is_refused() -> None:
    """What could not be closed without awaiting is refused before it is used, with a word on what is missing."""

    class Odd(trio.abc.Stream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b""

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            pass

        async def wait_send_all_might_not_block(self) -> None:
            pass

        async def aclose(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"Odd cannot carry HTTP.*close\(\) or abort\(\)"):
        transport_for(Odd())
