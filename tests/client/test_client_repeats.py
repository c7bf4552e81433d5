"""Requests that go out twice: what is sent the second time is what was to be sent the first time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from triohttp import Client
from triohttp.errors import ConnectError
from triohttp.testing import MemoryStream, RawConnection, RawRequest, ScriptedServer, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("kind", ["iterable", "generator", "bytes"])
async def test_content_that_was_asked_for_too_late_is_not_begun(kind: str) -> None:
    """A 417 right behind a 100 stops content that was about to go out, and all of it goes out with the next request."""
    requests: list[RawRequest] = []

    async def script(connection: RawConnection) -> None:
        if connection is server.connections[0]:
            await connection.read_until(b"\r\n\r\n")
            await connection.send_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
            await connection.read_until_closed()
        else:
            requests.append(await connection.read_request())
            await connection.send_all(OK)

    def generate() -> Iterator[bytes]:
        yield from (b"one", b"two")

    contents: dict[str, bytes | Iterable[bytes]] = {
        "iterable": [b"one", b"two"],
        "generator": generate(),
        "bytes": b"onetwo",
    }
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        response = await client.put(server.url, content=contents[kind], expect_continue=True)
    assert [request.content for request in requests] == [b"onetwo"]
    assert (response.status, response.interim) == (200, [])


async def test_a_repeat_that_cannot_connect_tells_of_the_first_time() -> None:
    """The request went out once, so the failure to open another connection is not one before anything was sent."""

    class Once:
        """An origin that can be reached a single time."""

        def __init__(self, server: ScriptedServer) -> None:
            self.server = server
            self.connected = False

        async def connect(self) -> MemoryStream:
            if self.connected:
                raise OSError("no route")
            self.connected = True
            return await self.server.connect()

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(OK)
        await connection.read_request()

    async with open_scripted(script) as server, Client(mounts={server.url: Once(server)}) as client:
        await client.get(server.url)
        with pytest.raises(ConnectError, match="no route") as caught:
            await client.put(server.url, content=b"x")
        assert (caught.value.sent, caught.value.safe_to_retry) == (True, False)
