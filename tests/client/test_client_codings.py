"""Content codings through a client: both kinds of answer, whatever the server does to them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from triohttp import Client, ClientLimits
from triohttp.errors import BodyTooLargeError, ContentError, TrioHTTPError
from triohttp.testing import RawConnection, open_scripted

TEXT = b"some text that is longer than nothing\n" * 100


def answer(content: bytes, coding: str, status: str = "200 OK", *more: str) -> bytes:
    fields = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", f"Content-Encoding: {coding}", *more]
    return "\r\n".join([*fields, "\r\n"]).encode() + content


@asynccontextmanager
async def open_client(*answers: bytes, **options: Any) -> AsyncIterator[Client]:
    """A client of a server that gives these answers on each connection, in turn."""
    rest = list(answers)

    async def script(raw: RawConnection) -> None:
        while rest:
            await raw.read_request()
            await raw.send_all(rest.pop(0))
        await raw.receive_some()

    async with open_scripted(script) as server, Client(server.url, mounts={server.url: server}, **options) as client:
        yield client


async def fetch(client: Client, how: str, **options: Any) -> bytes:
    if how == "whole":
        return (await client.get("/", **options)).content
    async with client.stream("GET", "/", **options) as response:
        return await response.read()


@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("GZIP", gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT))),
        ("identity", TEXT),
    ],
)
async def test_content_is_decoded(coding: str, content: bytes, how: str) -> None:
    """The fields say what was sent; the connection is used again."""
    async with open_client(answer(content, coding), answer(content, coding)) as client:
        assert await fetch(client, how) == TEXT
        response = await client.get("/")
        assert (response.content, response.codings) == (TEXT, ())
        assert response.headers["content-length"] == str(len(content))
        assert client.pool.statistics().opened == 1


@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize(
    ("coding", "status", "options", "codings"),
    [
        ("foo", "200 OK", {}, ("foo",)),
        ("gzip, foo", "200 OK", {}, ("gzip", "foo")),
        ("gzip", "206 Partial Content", {}, ("gzip",)),
        ("gzip", "200 OK", {"decode": False}, ("gzip",)),
    ],
)
async def test_content_is_left_as_it_is(
    coding: str, status: str, options: dict[str, Any], codings: tuple[str, ...], how: str
) -> None:
    """An unknown coding, a part of something, and when nobody wants it decoded; the answer says so."""
    content = gzip.compress(TEXT)
    async with open_client(answer(content, coding, status)) as client:
        if how == "whole":
            response = await client.get("/", **options)
            assert (response.content, response.codings) == (content, codings)
        else:
            async with client.stream("GET", "/", **options) as streamed:
                assert (await streamed.read(), streamed.codings) == (content, codings)


@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize(
    "content",
    [gzip.compress(TEXT)[:-5], gzip.compress(TEXT) + b"garbage", b"\x1f\x8b nonsense", gzip.compress(TEXT)[:5]],
)
async def test_broken_content_is_an_error(content: bytes, how: str) -> None:
    """Cut off, corrupt, or with something behind it: never taken for whole; the client goes on."""
    async with open_client(answer(content, "gzip"), answer(gzip.compress(TEXT), "gzip")) as client:
        with pytest.raises(ContentError) as caught:
            await fetch(client, how)
        assert caught.value.reason == "coding"
        assert client.pool.statistics().in_use == 0
        assert await fetch(client, how) == TEXT


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_no_content_needs_no_coding(method: str) -> None:
    """HEAD, 304 and an empty answer name a coding for what is not there."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n"
    empty = answer(b"", "gzip")
    not_modified = b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n"
    async with open_client(head if method == "HEAD" else empty, not_modified) as client:
        assert (await client.request(method, "/")).content == b""
        assert (await client.request(method, "/")).content == b""


async def test_bombs_are_bounded() -> None:
    """A one-shot call by ``max_body_bytes`` after decoding, both kinds by the ratio where one is set."""
    bomb = gzip.compress(bytes(8 * 1024 * 1024))
    async with open_client(answer(bomb, "gzip"), limits=ClientLimits(max_body_bytes=1_000_000)) as client:
        with pytest.raises(BodyTooLargeError) as caught:
            await client.get("/")
        assert (caught.value.limit, caught.value.bound) == ("max_body_bytes", 1_000_000)
    for how in ("whole", "stream"):
        async with open_client(answer(bomb, "gzip"), limits=ClientLimits(max_decode_ratio=200.0)) as client:
            with pytest.raises(BodyTooLargeError) as caught:
                await fetch(client, how)
            assert caught.value.limit == "max_decode_ratio"


@pytest.mark.parametrize("how", ["whole", "stream"])
async def test_too_many_codings(how: str) -> None:
    """More than ``max_codings`` are refused before anything is decoded."""
    async with open_client(answer(b"x", ", ".join(["gzip"] * 10))) as client:
        with pytest.raises(TrioHTTPError, match="max_codings=3"):
            await fetch(client, how)
        assert client.pool.statistics().in_use == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, b"gzip, deflate"), ({"decode": False}, b"identity"), ({"headers": {"accept-encoding": "x"}}, b"x")],
)
async def test_what_is_asked_for(options: dict[str, Any], expected: bytes) -> None:
    """What can be decoded, nothing where nothing is decoded, or what the program says."""
    heads: list[bytes] = []

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        heads.append(bytes(raw.received).lower())
        await raw.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with open_scripted(script) as server, Client(server.url, mounts={server.url: server}, **options) as client:
        await client.get("/")
    assert b"\r\naccept-encoding: " + expected in heads[0]


async def test_progress_counts_what_was_sent() -> None:
    """``on_download`` hears of bytes before decoding, so that they add up to the length."""
    content = gzip.compress(TEXT)
    seen: list[tuple[int, int | None]] = []
    async with open_client(answer(content, "gzip"), answer(content, "gzip")) as client:
        await client.get("/", on_download=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (len(content), len(content))
        seen.clear()
        async with client.stream("GET", "/", on_download=lambda done, total: seen.append((done, total))) as response:
            await response.read()
        assert seen[-1] == (len(content), len(content))
