"""What the client's errors say of themselves: the phase, whether bytes had left, and whether trying again is safe."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing

from triohttp import Client
from triohttp.errors import (
    BodyTruncatedError,
    ConnectError,
    DisconnectedError,
    InvalidURLError,
    RemoteProtocolError,
    TransportError,
)
from triohttp.testing import RawConnection, open_scripted

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


def ends(answer: bytes, *, reset: bool) -> Callable[[RawConnection], Awaitable[None]]:
    """Return a script that sends something and then ends the connection."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(answer)
        await trio.testing.wait_all_tasks_blocked()
        if reset:
            connection.reset()

    return script


@pytest.mark.parametrize(
    ("answer", "reset", "error", "phase"),
    [
        (b"", False, DisconnectedError, "head"),
        (b"", True, DisconnectedError, "head"),
        (b"HTTP/1.1 2", True, DisconnectedError, "head"),
        (HEAD, False, BodyTruncatedError, "content"),
        (HEAD + b"ab", True, DisconnectedError, "content"),
    ],
)
async def test_a_server_that_leaves(answer: bytes, reset: bool, error: type[TransportError], phase: str) -> None:
    """The phase is what was waited for; a request that went out may have been acted on."""
    async with open_scripted(ends(answer, reset=reset)) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(error) as caught:
            await client.get(server.url)
        assert (caught.value.phase, caught.value.sent, caught.value.safe_to_retry) == (phase, True, False)


async def test_what_was_never_tried() -> None:
    """Without a connection nothing was sent, so that it may be tried again; the message has the system's reason."""
    async with Client(mounts_only=True) as client:
        with pytest.raises(ConnectError, match="no mount") as caught:
            await client.get("http://h.test/")
        assert (caught.value.sent, caught.value.safe_to_retry) == (False, True)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with Client() as client:
        with pytest.raises(ConnectError, match="refused") as caught:
            await client.get(f"http://localhost:{port}/")
        assert (caught.value.phase, caught.value.sent, caught.value.safe_to_retry) == ("connect", False, True)


@pytest.mark.parametrize("url", ["http://user:secret@h.test/", "ftp://h.test/", "nowhere"])
def test_a_base_url_that_no_request_could_use(url: str) -> None:
    """It is refused at once, by the client that was given it and not by its first request."""
    with pytest.raises(InvalidURLError) as caught:
        Client(url)
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidURLError):
        Client().derive(url)


async def test_a_cancellation_is_one_whatever_the_iterable_makes_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An iterable with a nursery of its own ends in a group of Cancelled; the caller sees its own Cancelled."""

    async def content() -> AsyncIterator[bytes]:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 3)
            yield b"x"

    async def silent(connection: RawConnection) -> None:
        await connection.read_until_closed()

    async with open_scripted(silent) as server, Client(mounts={server.url: server}) as client:
        with trio.move_on_after(4) as scope:
            try:
                await client.post(server.url, content=content())
            except BaseException as exc:
                assert type(exc) is trio.Cancelled
                raise
        assert scope.cancelled_caught


async def test_a_switch_that_nobody_asked_for() -> None:
    """101 to an ordinary request is the server's mistake."""
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with open_scripted(ends(answer, reset=False)) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(RemoteProtocolError) as caught:
            await client.get(server.url)
        assert caught.value.slug == "unexpected-101"
