"""Messages of HTTP/1.1 put together from plausible parts, cut into reads, and what a wire makes of them."""

from __future__ import annotations

from hypothesis import strategies as st

from triohttp._values.message import RequestHead, ResponseHead
from triohttp._wire.events import EndOfContent, Signal
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
