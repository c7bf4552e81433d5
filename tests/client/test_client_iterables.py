"""The iterables of content: whatever they do, and whatever happens meanwhile, their errors come out as they are."""

from __future__ import annotations

import itertools
import signal
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio
import trio.testing

from triohttp import Client
from triohttp.errors import DisconnectedError, RemoteProtocolError
from triohttp.testing import RawConnection, RawRequest, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Failing:
    """Content that never ends, and whose cleanup fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.sleep(1)
        return b"x"

    async def aclose(self) -> None:
        raise self.error


async def silent(connection: RawConnection) -> None:
    """Take everything and answer nothing."""
    await connection.read_until_closed()


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
async def test_a_failing_cleanup_is_not_hidden_by_the_servers_error(
    answer: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """When both fail, the program's own error comes out, alone, with the server's behind it."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(answer)

    error = ValueError("cleanup")
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(ValueError, match="cleanup") as caught:
            await client.post(server.url, content=Failing(error))
        assert caught.value is error
        assert isinstance(error.__context__, RemoteProtocolError if answer else DisconnectedError)
        assert client.pool.statistics().connections == 0


async def test_a_failing_cleanup_is_not_hidden_by_a_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    """As anywhere: what a cleanup raises while a scope is cancelled comes out of it."""
    async with open_scripted(silent) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(ValueError, match="cleanup"), trio.move_on_after(3):
            await client.post(server.url, content=Failing(ValueError("cleanup")))
        with pytest.raises(ValueError, match="cleanup"), trio.move_on_after(3):
            async with client.stream("POST", server.url, content=Failing(ValueError("cleanup"))):
                raise AssertionError("there was no answer")


async def test_a_failing_cleanup_does_not_hide_what_failed_in_the_block(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two errors of the program's own: the later one comes out, with the earlier one as its context."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        await connection.read_until_closed()

    mine = KeyError("mine")
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(ValueError, match="cleanup") as caught:
            async with client.stream("POST", server.url, content=Failing(ValueError("cleanup"))):
                raise mine
        assert caught.value.__context__ is mine


def test_an_interrupt_is_in_no_group() -> None:
    """A KeyboardInterrupt that comes while a request waits for its content's cleanup comes out bare."""

    class Interrupting(Failing):
        @trio.lowlevel.enable_ki_protection  # so that the signal is for the main task, which waits for this one
        async def aclose(self) -> None:
            await trio.testing.wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGINT)
            await trio.testing.wait_all_tasks_blocked()

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(b"HTTP/1.1 413 Much\r\nContent-Length: 0\r\n\r\n")
        await connection.read_until_closed()

    async def main() -> None:
        async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
            with pytest.raises(KeyboardInterrupt):
                await client.post(server.url, content=Interrupting(ValueError()))
            assert client.pool.statistics().connections == 0

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
    try:
        trio.run(main)
    finally:
        signal.signal(signal.SIGINT, before)


async def test_pieces_without_bytes_leave_room_for_others() -> None:
    """An iterable that has nothing to send, again and again, can be cancelled and stops nobody else."""
    async with open_scripted(silent) as server, Client(mounts={server.url: server}) as client:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(client.post, server.url, content=itertools.repeat(b"")))
                for _ in range(20):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        assert client.pool.statistics().connections == 0


async def test_an_iterator_needs_no_more_than_its_next() -> None:
    """What ``aiter`` and ``iter`` return is not asked for anything else."""

    class Next:
        def __init__(self) -> None:
            self.pieces = [b"two", b"one"]

        async def __anext__(self) -> bytes:
            if not self.pieces:
                raise StopAsyncIteration
            return self.pieces.pop()

    class Source:
        def __aiter__(self) -> Next:
            return Next()

    requests: list[RawRequest] = []

    async def script(connection: RawConnection) -> None:
        requests.append(await connection.read_request())
        await connection.send_all(OK)

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        await client.post(server.url, content=Source())  # type: ignore[arg-type]  # typing asks for more than Python
    assert requests[0].content == b"onetwo"
