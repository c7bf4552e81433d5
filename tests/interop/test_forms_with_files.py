"""Forms with files of the client, read by servers and parsers that this project did not write: aiohttp and Werkzeug."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio
from aiohttp import web
from aiohttp_site import open_aiohttp
from werkzeug.formparser import parse_form_data

from triohttp import Client
from triohttp._client.multipart_content import FilePart
from triohttp.testing import RawConnection, RawRequest, open_scripted

pytestmark = pytest.mark.interop

LONG = bytes(range(256)) * 2000
SENT: list[tuple[str, str | None, str | None, bytes]] = [
    ("plain", None, None, b"value"),
    ("grün & so", None, None, "ä\r\n--b\n".encode()),
    ("file", "report.csv", "text/csv", b"a;b"),
    ("file", "naïve ☃.txt", "text/plain", LONG),
    ("empty", "none.bin", "application/octet-stream", b""),
    ("typed", "x", "text/x-own", b"\r\n"),
    ("chunks", "chunks", "application/octet-stream", LONG),
]
"""(name, filename, media type, content) of every part that ``send`` sends."""


async def send(client: Client, url: str, directory: Path) -> Any:
    """Send every kind of file in one form; return the answer."""
    path = directory / "naïve ☃.txt"
    path.write_bytes(LONG)
    async with await trio.open_file(path.with_name("none.bin"), "w+b") as empty:
        return await client.post(
            url,
            form={"plain": "value", "grün & so": "ä\r\n--b\n"},
            files=[
                ("file", ("report.csv", "a;b")),
                ("file", path),
                ("empty", empty),
                ("typed", FilePart(io.BytesIO(b"\r\n"), filename="x", media_type="text/x-own")),
                ("chunks", [LONG[:100_000], LONG[100_000:]]),
            ],
        )


@asynccontextmanager
async def aiohttp_server() -> AsyncIterator[str]:
    """Serve with aiohttp, which says what parts it found, on an asyncio loop in a thread."""

    async def parts(request: web.Request) -> web.Response:
        found = []
        async for part in await request.multipart():
            assert part is not None
            content = await part.read()  # type: ignore[union-attr]  # no multipart inside of it
            found.append((part.name, part.filename, part.headers.get("Content-Type"), content.hex()))  # type: ignore[union-attr]
        return web.json_response(found)

    async with open_aiohttp([web.post("/parts", parts)]) as url:
        yield url


async def test_aiohttp_reads_every_part(tmp_path: Path) -> None:
    """Names, filenames, media types and contents as they were given."""
    async with aiohttp_server() as url, Client(url) as client:
        response = await send(client, "/parts", tmp_path)
        assert response.status == 200
        assert client.pool.statistics().idle == 1
    found = [
        (name, filename, kind, bytes.fromhex(content)) for name, filename, kind, content in json.loads(response.text)
    ]
    assert found == SENT


async def test_werkzeug_reads_every_part(tmp_path: Path) -> None:
    """The same, by the parser that Flask has."""
    requests: list[RawRequest] = []

    async def script(connection: RawConnection) -> None:
        requests.append(await connection.read_request())
        await connection.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        await send(client, server.url, tmp_path)
    content = requests[0].content
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": requests[0].headers["content-type"],
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": io.BytesIO(content),
    }
    _, form, files = parse_form_data(environ)
    fields: list[tuple[str, str | None, str | None, bytes]] = [
        (name, None, None, value.encode()) for name, value in form.items(multi=True)
    ]
    uploads = []
    for name, file in files.items(multi=True):
        with closing(file):
            uploads.append((name, file.filename, file.content_type, file.read()))
    assert [*fields, *uploads] == SENT
