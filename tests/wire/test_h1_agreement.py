"""Properties of the wire: the outcome is the split's neither nor the hot path's, and good content comes through."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from triohttp._values.limits import ClientLimits, Limits
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._wire.events import EndOfContent, Role, Signal
from triohttp._wire.fields import examine_request
from triohttp._wire.h1 import H1Wire
from triohttp.errors import BodyTruncatedError, RemoteProtocolError

ODD = [b"\r", b"\n", b"\r\n", b"\x00", b"\t", b" ", b"\xff", b":", b"", b"\x7f", b"\x16", b",", b"\r\n\r\n", b"\r\n "]
START_LINES = [
    b"GET / HTTP/1.1",
    b"POST /a?b HTTP/1.1",
    b"HEAD http://b/x HTTP/1.1",
    b"GET / HTTP/1.0",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT a:443 HTTP/1.1",
    b"GET / HTTP/2.0",
    b"A" * 40 + b" / HTTP/1.1",
    b"GET /" + b"a" * 90 + b" HTTP/1.1",
    b"HTTP/1.1 200 OK",
    b"HTTP/1.0 404 No",
    b"HTTP/1.1 103 Early",
    b"HTTP/1.1 204 No Content",
]
LINES = [
    b"Host: a",
    b"host: [::1]:80",
    b"Content-Length: 5",
    b"content-length: 5, 5",
    b"Content-Length: 005",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked",
    b"Expect: 100-continue",
    b"Expect: x",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Upgrade: foo",
    b"User-Agent: x",
    b"X: y",
    b" folded",
    b"X : y",
    b"N" * 300 + b": v",
    b"X: " + b"v" * 120,
]
BODIES = [
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\nT: 1\r\n\r\n",
    b"5\r\nhelloX",
    b"GET / HTTP/1.1\r\n",
]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message put together from plausible parts, with some bytes changed."""
    lines = draw(st.lists(st.sampled_from(LINES), max_size=6))
    if draw(st.booleans()):
        lines.insert(0, b"Host: a")
    data = b"\r\n".join([draw(st.sampled_from(START_LINES)), *lines, b"", draw(st.sampled_from(BODIES))])
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.sampled_from(ODD)) + data[place + draw(st.integers(0, 2)) :]
    return b"\r\n" * draw(st.sampled_from([0, 0, 0, 1, 5])) + data


LIMITS = st.sampled_from(
    [
        Limits(),
        Limits(max_line_bytes=100, max_head_bytes=200, max_fields=4),
        Limits(max_line_bytes=20),
        Limits(max_fields=1),
    ]
)


def read(wire: H1Wire, pieces: list[bytes]) -> list[object]:
    """Return all that becomes of one message: events by their value, the error by its data."""
    seen: list[object] = []
    try:
        for piece in [*pieces, b""]:
            wire.receive(piece)
            while (event := wire.next_event()) not in (Signal.NEED_DATA, Signal.PAUSED, Signal.ENDED):
                if isinstance(event, bytes):
                    if seen and isinstance(seen[-1], bytes):
                        event = seen.pop() + event
                    seen.append(event)
                elif isinstance(event, EndOfContent):
                    seen.append(("end", event.trailers and event.trailers.raw))
                elif isinstance(event, RequestHead):
                    seen.append((event.method, event.target, event.authority, event.version, event.headers.raw))
                else:
                    assert isinstance(event, ResponseHead)
                    seen.append((event.status, event.version, event.headers.raw))
        seen.append(wire.keep_alive)
    except RemoteProtocolError as exc:
        seen.append((exc.slug, exc.suggested_status, exc.at, exc.received, exc.detail))
    except BodyTruncatedError as exc:
        seen.append((exc.received, exc.expected))
    return seen


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} - {0, len(data)})
    return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True) if a < b]


def asked(limits: ClientLimits) -> H1Wire:
    wire = H1Wire(Role.CLIENT, limits)
    wire.send_request("GET", "/", [(b"Host", b"a")], 0)
    wire.send_end()
    return wire


@given(messages(), LIMITS, st.lists(st.integers(0, 600), max_size=8))
@settings(max_examples=400, deadline=None)
def test_a_server_sees_the_same_at_every_split(data: bytes, limits: Limits, places: list[int]) -> None:
    """Whole, byte by byte and at random, a request becomes the same events or the same error."""
    whole = read(H1Wire(Role.SERVER, limits), [data])
    assert read(H1Wire(Role.SERVER, limits), [data[i : i + 1] for i in range(len(data))]) == whole
    assert read(H1Wire(Role.SERVER, limits), cut(data, places)) == whole


@given(messages(), st.lists(st.integers(0, 600), max_size=8))
@settings(max_examples=400, deadline=None)
def test_a_client_sees_the_same_at_every_split(data: bytes, places: list[int]) -> None:
    """Whole, byte by byte and at random, a response becomes the same events or the same error."""
    limits = ClientLimits(max_line_bytes=150, max_fields=5)
    whole = read(asked(limits), [data])
    assert read(asked(limits), [data[i : i + 1] for i in range(len(data))]) == whole
    assert read(asked(limits), cut(data, places)) == whole


@given(messages(), LIMITS)
@settings(max_examples=400, deadline=None)
def test_the_hot_path_and_the_slow_one_agree(data: bytes, limits: Limits) -> None:
    """A head is accepted exactly when the slow examination finds nothing, and refused with the error that it names."""
    match = re.match(rb"(?:\r\n)*(?=[^\r\n])(.*?\r\n\r\n)", data, re.DOTALL)
    if match is None or data.startswith(b"\r\n" * 5):
        return
    head = match[1]
    try:
        examine_request(head, limits)
        verdict = None
    except RemoteProtocolError as exc:
        verdict = (exc.slug, exc.suggested_status, exc.received)
    wire = H1Wire(Role.SERVER, limits)
    wire.receive(head)
    try:
        assert isinstance(wire.next_event(), RequestHead)
        assert verdict is None
    except RemoteProtocolError as exc:
        assert (exc.slug, exc.suggested_status, exc.received) == verdict
    if verdict is None:
        assert re.fullmatch(rb"(?:[^\x00-\x08\x0a-\x1f\x7f]+\r\n)+\r\n", head)


@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 6), st.sampled_from([b"", b";a", b';a="b"']))
    ),
    st.lists(st.integers(0, 5000), max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_chunked_content_comes_through(chunks: list[tuple[bytes, int, bytes]], places: list[int]) -> None:
    """Any content, in any chunks, at any split, comes out as it went in, and what follows it is left alone."""
    encoded = b"".join(b"0" * zeros + b"%x" % len(data) + ext + b"\r\n" + data + b"\r\n" for data, zeros, ext in chunks)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire = H1Wire(Role.SERVER, Limits())
    seen = read(wire, cut(head + encoded + b"0\r\n\r\nGET", places))
    content = b"".join(data for data, _, _ in chunks)
    assert seen[1:] == [*([content] if content else []), ("end", None), True]
    assert wire.buffered == b"GET"
