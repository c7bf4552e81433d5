"""Answers: text, JSON, links and errors, as the client reads them from what came."""

from __future__ import annotations

import pytest
import trio

from triohttp import URL, ClientResponse, Headers
from triohttp._client.lines import LineReader
from triohttp._client.links import parse_links
from triohttp._client.request import DEFAULT_HEADERS, Defaults, build_request
from triohttp.errors import ContentError, LimitError, StatusError

REQUEST = build_request(Defaults(None, DEFAULT_HEADERS, None), "GET", "http://h.test/a/b?q=secret", {})


def answer(content: bytes = b"", content_type: str | None = None, status: int = 200) -> ClientResponse:
    headers = Headers({} if content_type is None else {"Content-Type": content_type})
    return ClientResponse(REQUEST, status, headers, content, elapsed=0.5)


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        ("grün".encode(), None, "grün"),
        ("grün".encode(), "text/plain", "grün"),
        ("grün".encode("latin-1"), "text/plain; charset=ISO-8859-1", "grün"),
        ("grün".encode("utf-16"), "text/plain; charset=latin-1", "grün"),
        (b"\xef\xbb\xbfx", "text/plain", "x"),
        (b"", "text/plain; charset=utf-8", ""),
        (b"x", "no media type", "x"),
    ],
)
def test_text_is_decoded_by_mark_then_field_then_utf8(content: bytes, content_type: str | None, expected: str) -> None:
    """A byte order mark decides, else the charset of Content-Type, else UTF-8."""
    assert answer(content, content_type).text == expected


@pytest.mark.parametrize(("content", "content_type"), [(b"\xff", None), (b"x", "text/plain; charset=rot13")])
def test_text_that_cannot_be_decoded_is_an_error(content: bytes, content_type: str | None) -> None:
    """Nothing is guessed and nothing replaced: ``content`` has the bytes."""
    with pytest.raises(ContentError) as caught:
        assert answer(content, content_type).text
    assert caught.value.reason == "charset"


def test_json_is_read_whatever_the_media_type() -> None:
    """JSON is JSON when somebody asks for it; what is not raises ContentError."""
    assert answer(b'{"a": [1]}', "text/plain").json() == {"a": [1]}
    with pytest.raises(ContentError):
        answer(b"{").json()
    with pytest.raises(ContentError):
        answer(b"[" * 65 + b"]" * 65).json()


def test_a_status_says_what_it_is() -> None:
    """Each hundred has its property; the phrase is the registered one."""
    facts = {
        status: (one.is_success, one.is_redirection, one.is_client_error, one.is_server_error, one.is_error)
        for status in (204, 302, 404, 503)
        for one in [answer(status=status)]
    }
    assert facts == {
        204: (True, False, False, False, False),
        302: (False, True, False, False, False),
        404: (False, False, True, False, True),
        503: (False, False, False, True, True),
    }
    assert answer(status=404).reason == "Not Found"


def test_raise_for_status_raises_for_errors_only() -> None:
    """4xx and 5xx raise, with the status and the content; everything else is returned."""
    good = answer(status=302)
    assert good.raise_for_status() is good
    with pytest.raises(StatusError, match="404 Not Found in answer to GET") as caught:
        answer(b"why", status=404).raise_for_status()
    assert (caught.value.code, caught.value.content) == (404, b"why")


def test_links_are_found_by_relation() -> None:
    """Relative references, quoted commas, several relations and several lines are understood; nonsense is skipped."""
    links = parse_links(
        [
            '</page/2?a=1,2>; rel="next last"; title="a, \\"b\\"", <x>; rel=up',
            "<http://other.test/>; rel=Next, <no-relation>, broken; rel=x, <ftp://h/>; rel=ftp, <open",
        ],
        URL("http://h.test/page/1"),
    )
    assert {name: str(link.url) for name, link in links.items()} == {
        "next": "http://h.test/page/2?a=1,2",
        "last": "http://h.test/page/2?a=1,2",
        "up": "http://h.test/page/x",
    }
    assert links["next"].parameters["title"] == 'a, "b"'


class Pieces(trio.abc.ReceiveStream):
    """A stream that yields what it was given, piece by piece."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def read_lines(pieces: list[bytes]) -> list[str]:
    return [line async for line in LineReader(Pieces(pieces), "utf-8", 100)]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"one\ntwo\r\n\nthr\xe2\x80\xa8ee"],
        [b"one", b"\ntwo\r", b"\n\nthr\xe2\x80", b"\xa8ee"],
        [bytes([octet]) for octet in b"one\ntwo\r\n\nthr\xe2\x80\xa8ee"],
    ],
)
async def test_lines_end_with_lf_and_nothing_else(pieces: list[bytes]) -> None:
    """LF and CRLF end a line wherever the pieces are cut; other line breaks of Unicode are text."""
    assert await read_lines(pieces) == ["one", "two", "", "thr\u2028ee"]


async def test_a_last_line_end_begins_no_line() -> None:
    """What ends with LF has no empty line after it."""
    assert await read_lines([b"a\n"]) == ["a"]
    assert await read_lines([]) == []


async def test_lines_are_in_the_charset_that_text_would_be_in() -> None:
    """A byte order mark is none of the first line; where LF is not one byte there are no lines to be found."""
    assert await read_lines([b"\xef\xbb", b"\xbfone\n", b"\xef\xbb\xbftwo"]) == ["one", "\ufefftwo"]
    with pytest.raises(ContentError, match="utf-16") as caught:
        LineReader(Pieces([]), "utf-16", 100)
    assert caught.value.reason == "charset"


async def test_a_line_is_bounded() -> None:
    """A line beyond ``max_line_bytes`` is an error, whether or not its end has come."""
    for content in (b"x" * 101 + b"\n", b"x" * 101):
        with pytest.raises(LimitError) as caught:
            await read_lines([content])
        assert caught.value.bound == 100
    assert await read_lines([b"x" * 100 + b"\n"]) == ["x" * 100]
