"""Progress of uploads: who is told what, when, and what happens when telling fails."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from triohttp import Client
from triohttp._client.body import SLICE_BYTES, WHOLE_BYTES
from triohttp.errors import DisconnectedError
from triohttp.testing import RawConnection, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
AGAIN = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"


async def answer_all(connection: RawConnection) -> None:
    """Redirect what is for /first, answer the rest."""
    while True:
        request = await connection.read_request()
        await connection.send_all(AGAIN if request.target == "/first" else OK)


class Calls:
    """What was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int | None]] = []

    def __call__(self, done: int, total: int | None) -> None:
        self.calls.append((done, total))


async def told(content: Any, target: str = "/", **options: Any) -> list[tuple[int, int | None]]:
    """Send content and return what was told about it."""
    calls = Calls()
    async with open_scripted(answer_all) as server, Client(mounts={server.url: server}) as client:
        response = await client.post(server.url + target, content=content, on_upload=calls, **options)
        assert response.status == 200
    return calls.calls


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        await trio.lowlevel.checkpoint()
        yield b"x" * size


@pytest.mark.parametrize("size", [1, WHOLE_BYTES])
async def test_short_bytes_are_told_once(size: int) -> None:
    """They go out with the head, in one piece."""
    assert await told(b"x" * size) == [(size, size)]


@pytest.mark.parametrize("content", [b"", None])
async def test_nothing_is_told_about_nothing(content: bytes | None) -> None:
    """A request without content has no upload."""
    assert await told(content) == []


async def test_long_bytes_are_told_in_slices() -> None:
    """From none to all, after each part that was handed to the connection."""
    size = WHOLE_BYTES + 5
    steps = [*range(0, size, SLICE_BYTES), size]
    assert await told(b"x" * size) == [(step, size) for step in steps]


async def test_a_file_is_told_with_its_length() -> None:
    """Its length is known when the upload begins."""
    assert await told(io.BytesIO(b"x" * 20_000)) == [(0, 20_000), (SLICE_BYTES, 20_000), (20_000, 20_000)]
    assert await told(io.BytesIO()) == [(0, 0)]


async def test_pieces_of_unknown_length_are_told_one_by_one() -> None:
    """How many there are is known at the end, when all of them are told once more."""
    assert await told(pieces(3, 0, 20_000)) == [
        (0, None),
        (3, None),
        (3 + SLICE_BYTES, None),
        (20_003, None),
        (20_003, 20_003),
    ]
    assert await told(pieces()) == [(0, None), (0, 0)]


async def test_a_form_counts_with_what_is_between_its_parts() -> None:
    """The total is the content's length, as announced."""
    calls = await told(None, files={"f": io.BytesIO(b"x" * 10)})
    (first, total), last = calls[0], calls[-1]
    assert first == 0
    assert total is not None
    assert total > 10
    assert last == (total, total)


@pytest.mark.parametrize(("content", "expected"), [([b"abc"], [(0, None), (3, None), (3, 3)]), (b"abc", [(3, 3)])])
async def test_each_sending_is_told_anew(content: Any, expected: list[tuple[int, int | None]]) -> None:
    """After a redirect the count begins again."""
    assert await told(content, "/first") == expected * 2


async def test_what_a_server_did_not_ask_for_is_not_told() -> None:
    """With Expect, a refusal instead of 100 (Continue) ends the upload before it begins."""
    calls = Calls()

    async def refuse(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await connection.read_until_closed()

    async with open_scripted(refuse) as server, Client(mounts={server.url: server}) as client:
        response = await client.post(server.url, content=b"x", expect_continue=True, on_upload=calls)
    assert (response.status, calls.calls) == (403, [])


async def test_bytes_are_told_once_the_connection_took_them() -> None:
    """A server that reads nothing is not told to have everything."""
    calls = Calls()

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        stuck.append(calls.calls[-1][0])
        await connection.send_all(b"HTTP/1.1 413 Much\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    stuck: list[int] = []
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        assert (await client.post(server.url, content=b"x" * 10**7, on_upload=calls)).status == 413
    assert 0 < stuck[0] < 10**6
    assert calls.calls[-1] == (stuck[0], 10**7)


@pytest.mark.parametrize("content", [b"x", b"x" * 100_000, [b"x"]])
@pytest.mark.parametrize("error", [KeyError("mine"), DisconnectedError("somebody else's", phase="content")])
async def test_an_exception_while_telling_ends_the_request(content: Any, error: Exception) -> None:
    """It comes out as it is, whatever its class, and the connection is not used again."""

    def fail(done: int, total: int | None) -> None:
        if done:
            raise error

    async def script(connection: RawConnection) -> None:
        await connection.read_until_closed()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(type(error)) as caught:
            await client.post(server.url, content=content, on_upload=fail)
        assert caught.value is error
        assert client.pool.statistics().connections == 0
