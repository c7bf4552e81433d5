"""The client's events from streams that were written by hand on Node's http module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import Client, Event
from triohttp.errors import ContentError, StatusError

if TYPE_CHECKING:
    from conftest import Programs

pytestmark = pytest.mark.interop


@asynccontextmanager
async def open_client(programs: Programs) -> AsyncIterator[Client]:
    """A client of a Node server that lives as long as the block."""
    async with programs.beside("node", programs.beside_tests("node_event_server.js")) as node:
        async with Client(f"http://127.0.0.1:{node.line}") as client:
            yield client


async def test_every_way_to_write_an_event(programs: Programs) -> None:
    """All ends of lines, a mark at the start, comments, fields of others and single bytes are read as browsers do."""
    async with open_client(programs) as client, client.events("/odd", reconnect=False) as events:
        assert [event async for event in events] == [
            Event("one\ntwo\n\n three ", type="message", retry_ms=100),
            Event("日本語 🐫", type="größe", id="5"),
            Event("after 5", type="message", id="5"),
            Event("without an id", type="message", id=""),
        ]
        assert events.reconnects == 0


async def test_a_stream_is_kept_up(programs: Programs) -> None:
    """Streams that end and connections that break are gone on from where they were, until the server says 204."""
    async with open_client(programs) as client, client.events("/numbers") as events:
        seen = [(event.data, event.id) async for event in events]
        assert seen == [(str(number), f"größe-{number}") for number in range(1, 13)]
        assert events.reconnects == 4
        assert client.pool.statistics().in_use == 0


async def test_a_server_that_is_busy(programs: Programs) -> None:
    """503 is waited out, as long as its Retry-After asks for."""
    async with open_client(programs) as client, client.events("/busy") as events:
        assert (await events.receive()).data == "1"
        began = trio.current_time()
        assert (await events.receive()).data == "3"
        assert trio.current_time() - began >= 1
        assert [event async for event in events] == []


async def test_what_is_no_stream_of_events(programs: Programs) -> None:
    """Another answer is an error, at the first connection and at a later one."""
    async with open_client(programs) as client:
        with pytest.raises(StatusError) as missing:
            async with client.events("/missing"):
                pass
        assert (missing.value.code, missing.value.content) == (404, b"there is none")
        async with client.events("/page") as events:
            assert (await events.receive()).data == "1"
            with pytest.raises(ContentError):
                await events.receive()


async def test_leaving_ends_the_stream(programs: Programs) -> None:
    """The server hears that nobody listens any more."""
    async with open_client(programs) as client:
        async with client.events("/endless") as events:
            assert (await events.receive()).data == "first"
        assert (await client.get("/left")).text == "left"
