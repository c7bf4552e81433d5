"""``response.events``: the server-sent events of one answer, whatever it is said to be."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from triohttp import Client
from triohttp.errors import LimitError
from triohttp.testing import RawConnection, ScriptedServer, open_scripted


def answering(content: bytes) -> AbstractAsyncContextManager[ScriptedServer]:
    """Serve one answer, which does not say what its content is."""

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        await raw.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))

    return open_scripted(script)


async def test_any_answer_can_be_read_as_events() -> None:
    """``response.events`` reads this one answer, whatever its type is said to be."""
    content = b"id: 7\nretry: 5\ndata: a\n\ndata: b\n\ndata: c\n"
    async with answering(content) as server, Client(mounts={server.url: server}) as client:
        async with client.stream("POST", server.url, json={}) as response:
            events = response.events()
            assert (events.last_event_id, events.retry_ms) == (None, None)
            assert [event.data async for event in events] == ["a", "b"]
            assert (events.last_event_id, events.retry_ms) == ("7", 5)
            assert [event async for event in events] == []


async def test_events_of_one_answer_are_bounded() -> None:
    """As those of ``client.events``."""
    async with answering(b"data: 0123456789\n\n") as server, Client(mounts={server.url: server}) as client:
        async with client.stream("GET", server.url) as response:
            with pytest.raises(LimitError):
                await anext(response.events(max_event_bytes=10))
