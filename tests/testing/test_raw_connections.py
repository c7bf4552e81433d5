"""A raw connection sends what it is told and reads messages with h11, at every split and without losing a byte."""

from __future__ import annotations

import pytest
import trio

from triohttp.errors import BodyTruncatedError, DisconnectedError, RemoteProtocolError
from triohttp.testing import MemoryStream, RawConnection, memory_stream_pair

RESPONSE = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n"
    b"5\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 7\r\n\r\n"
)


def raw_pair() -> tuple[RawConnection, MemoryStream]:
    one, other = memory_stream_pair()
    return RawConnection(one), other


@pytest.mark.parametrize("size", [1, 7, 4096])
async def test_a_response_is_read_with_all_its_parts(size: int) -> None:
    """Interim responses, reason, repeated fields, chunked content and trailers, whatever the reads are."""
    raw, server = raw_pair()

    async def send() -> None:
        for at in range(0, len(RESPONSE), size):
            await server.send_all(RESPONSE[at : at + size])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        response = await raw.read_response()
    assert (response.status, response.reason, response.version) == (200, "Fine", "1.1")
    assert response.headers.get_all("x-twice") == ["1", "2"]
    assert response.content == b"hello!"
    assert response.trailers is not None
    assert response.trailers["x-sum"] == "7"
    assert [(one.status, one.headers["link"]) for one in response.interim] == [(103, "</a>")]
    assert raw.received == RESPONSE


async def test_responses_are_read_one_at_a_time() -> None:
    """What comes after a response is left for the next, and for the bytes after all of them."""
    raw, server = raw_pair()
    await server.send_all(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
        b"HTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\nrest"
    )
    await server.aclose()
    assert [(await raw.read_response()).status for _ in range(3)] == [200, 204, 404]
    assert await raw.read_until_closed() == b"rest"


async def test_the_method_decides_about_content() -> None:
    """An answer to HEAD has none, and neither has a 2xx to CONNECT or a 101."""
    raw, server = raw_pair()
    await server.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert (await raw.read_response("HEAD")).content == b""
    await server.send_all(b"HTTP/1.1 200 OK\r\n\r\ntunnel")
    assert (await raw.read_response("CONNECT")).content == b""
    assert await raw.receive_some(4) == b"tunn"
    assert await raw.receive_some() == b"el"
    await server.send_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: upgrade\r\n\r\nframes")
    assert (await raw.read_response()).status == 101
    assert await raw.receive_some() == b"frames"


async def test_content_may_end_with_the_connection() -> None:
    """Without a length, the content of a response goes on to the end of the stream."""
    raw, server = raw_pair()
    await server.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
    await server.aclose()
    assert (await raw.read_response()).content == b"all of it"
    assert await raw.read_until_closed() == b""


async def test_a_missing_response_and_a_cut_one_are_told_apart() -> None:
    """An end before the first byte is a disconnection, one in the middle of head or content a truncation."""
    raw, server = raw_pair()
    await server.aclose()
    with pytest.raises(DisconnectedError) as caught:
        await raw.read_response()
    assert type(caught.value) is DisconnectedError
    for part in (b"HTTP/1.1 200 OK\r\nConte", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"):
        raw, server = raw_pair()
        await server.send_all(part)
        await server.aclose()
        with pytest.raises(BodyTruncatedError):
            await raw.read_response()
        assert raw.received == part


async def test_what_is_no_response_is_an_error() -> None:
    """Bytes that are not HTTP are an error with those bytes in it."""
    raw, server = raw_pair()
    await server.send_all(b"SSH-2.0-OpenSSH\r\n\r\n")
    with pytest.raises(RemoteProtocolError, match="cannot be read") as caught:
        await raw.read_response()
    assert caught.value.detail == b"SSH-2.0-OpenSSH\r\n\r\n"


async def test_requests_are_read_too() -> None:
    """A scripted server end reads what a client sent, one request after the other."""
    raw, client = raw_pair()
    await client.send_all(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
    await client.send_all(b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
    request = await raw.read_request()
    assert (request.method, request.target, request.content) == ("POST", "/a", b"hi")
    assert request.headers["host"] == "h"
    assert (await raw.read_request()).target == "/b"
    await client.aclose()
    with pytest.raises(DisconnectedError):
        await raw.read_request()


async def test_bytes_are_read_up_to_a_mark_or_a_count() -> None:
    """A head can be read without what follows, and what follows to the byte."""
    raw, peer = raw_pair()
    await peer.send_all(b"head\r\n\r\ncont")
    await peer.send_all(b"ent")
    assert await raw.read_until(b"\r\n\r\n") == b"head\r\n\r\n"
    assert await raw.read_exactly(7) == b"content"
    await peer.aclose()
    with pytest.raises(DisconnectedError):
        await raw.read_exactly(1)
    with pytest.raises(DisconnectedError):
        await raw.read_until(b"x")


async def test_ends_and_resets_reach_the_peer() -> None:
    """A half-close is an end of stream, a reset an error, and leaving the block closes."""
    raw, peer = raw_pair()
    await raw.send_all(b"x")
    await raw.send_eof()
    assert [await peer.receive_some(), await peer.receive_some()] == [b"x", b""]
    raw.reset()
    with pytest.raises(trio.BrokenResourceError):
        await peer.receive_some()
    raw, peer = raw_pair()
    async with raw:
        pass
    assert await peer.receive_some() == b""
    await raw.aclose()
