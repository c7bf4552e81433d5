"""The short way of plain heads: it says what h11 says, and leaves to it whatever is not plain."""

from __future__ import annotations

import h11
import pytest
from h1_messages import LINES, cut, messages, read
from hypothesis import given, settings
from hypothesis import strategies as st

from triohttp._values.headers import Headers
from triohttp._values.limits import ClientLimits
from triohttp._values.message import ResponseHead
from triohttp._wire.events import EndOfContent, FieldLines, Role, Signal
from triohttp._wire.h1 import H1Wire
from triohttp._wire.h1_short import read_response, write_fields, write_request_line
from triohttp.errors import LocalProtocolError

HOST = (b"Host", b"a")
PLAIN = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\n"


class AllTheWay(H1Wire):
    """A wire that knows no short way."""

    def _write_plain_request(self, *_: object) -> None:
        return None


def client(kind: type[H1Wire] = H1Wire, **limits: int) -> H1Wire:
    return kind(Role.CLIENT, ClientLimits(**limits))


def ask(wire: H1Wire, method: str, content: bytes = b"") -> bytes:
    data = wire.send_request(method, "/", [HOST], len(content))
    return data + wire.send_content(content) + wire.send_end()


# -- responses ---------------------------------------------------------------------------------------------------------


def state(wire: H1Wire) -> tuple[object, ...]:
    return wire.buffered, wire.at_cycle_end, wire.keep_alive, wire.incoming_length, wire.close_delimited


@given(messages(), st.sampled_from(["GET", "HEAD", "POST"]), st.lists(st.integers(0, 600), max_size=3))
@settings(max_examples=600, deadline=None)
def test_a_response_is_the_same_by_both_ways(data: bytes, method: str, places: list[int]) -> None:
    """Of any bytes: the same events or the same error, the same rest, and the same verdict on the connection."""
    short, long = client(max_line_bytes=150, max_fields=6), client(AllTheWay, max_line_bytes=150, max_fields=6)
    assert ask(short, method) == ask(long, method)
    pieces = cut(data, places)
    assert read(short, pieces) == read(long, pieces)
    assert state(short) == state(long)


NAMES = st.sampled_from([b"Content-Length", b"content-length", b"Connection", b"Transfer-Encoding", b"Set-Cookie"])
VALUES = st.sampled_from(
    [b"5", b" 5", b"\t5 ", b"+5", b"5, 5", b"", b" ", b"1" * 20, b"x ", b"close", b"a, Close", b"chunked", b"\xff"]
)
STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 204 No\tContent\xff",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 999 X",
        b"HTTP/1.1 099 X",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.0 200 OK",
    ]
)


@given(STATUS_LINES, st.lists(st.tuples(NAMES, VALUES), max_size=4), st.sampled_from(["GET", "HEAD"]))
@settings(max_examples=600, deadline=None)
def test_framing_is_the_same_by_both_ways(start: bytes, fields: FieldLines, method: str) -> None:
    """Lengths, codings, connection options and statuses mean by the short way what they mean by the long one."""
    data = b"\r\n".join([start, *(b"%b:%b" % field for field in fields), b"", b"5\r\nhello\r\n0\r\n\r\n"])
    short, long = client(), client(AllTheWay)
    ask(short, method)
    ask(long, method)
    assert read(short, [data]) == read(long, [data])
    assert state(short) == state(long)


@pytest.mark.parametrize(
    "head",
    [
        PLAIN,
        b"HTTP/1.1 404\r\nContent-Length:0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\ncontent-length:\t5\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nETag:\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_ordinary_heads_go_the_short_way(head: bytes) -> None:
    """Else this would be a long way round: h11 is never asked."""
    wire = client()
    wire._h11 = None  # type: ignore[assignment]  # to be asked for anything would raise AttributeError
    ask(wire, "POST", b"x" * 5)
    wire.receive(head + b"hello"[: 5 * (b" 5" in head or b"\t5" in head)])
    assert isinstance(wire.next_event(), ResponseHead)
    while not isinstance(event := wire.next_event(), EndOfContent):
        assert event == b"hello"
    assert wire.at_cycle_end == (b"close" not in head)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"N" * 257 + b": x\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_left_to_h11(head: bytes) -> None:
    """Good or bad, it is not for the short way to say."""
    assert read_response(head, head.count(b"\r\n") - 2) is None


# -- requests ----------------------------------------------------------------------------------------------------------


def sent(kind: type[H1Wire], method: str, target: str, fields: FieldLines, content: bytes | None) -> object:
    wire = client(kind)
    try:
        data = wire.send_request(method, target, fields, None if content is None else len(content))
        return data, wire.send_content(content or b""), wire.send_end(), wire.keep_alive
    except LocalProtocolError as exc:
        return str(exc), exc.slug, wire.keep_alive


@given(
    st.sampled_from(["GET", "POST", "HEAD", "CONNECT", "get", "X-Y", "G T", "GÉT"]),
    st.sampled_from(["/", "*", "/a?b", "", "/a b", "/\x7f", "/é", "/a\r\nX: y"]),
    st.lists(
        st.tuples(
            st.sampled_from([b"Host", b"HOST", b"X", b"Accept", b"X: y", b"", b"X ", b"Connection", b"Content-Length"]),
            st.sampled_from([b"a", b"", b" a", b"a ", b"a b", b"a\tb", b"a\r\nX: y", b"\x00", b"\x01", b"\xff", b"0"]),
        ),
        max_size=4,
    ),
    st.sampled_from([None, b"", b"hello"]),
    st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_a_request_is_the_same_by_both_ways(
    method: str, target: str, fields: FieldLines, content: bytes | None, host: bool
) -> None:
    """Of whatever a caller gives: the same bytes, or the same refusal."""
    if host:
        fields = [HOST, *fields]
    assert sent(H1Wire, method, target, fields, content) == sent(AllTheWay, method, target, fields, content)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"X", b"y"), HOST],
        [HOST, (b"host", b"b")],
        [HOST, (b"Expect", b"100-continue")],
        [HOST, (b"Upgrade", b"foo")],
        [HOST, (b"Content-Length", b"5")],
        [HOST, (b"X: y", b"z")],
        [HOST, (b"X", b"y\r\nZ: z")],
        [HOST, (b"X", b"y ")],
    ],
)
def test_fields_that_matter_to_framing_are_left_to_h11(fields: FieldLines) -> None:
    """As is everything that cannot be written."""
    assert write_fields(fields) is None


def test_request_lines_that_are_not_plain_are_left_to_h11() -> None:
    """CONNECT among them, whose answer is another."""
    assert write_request_line("GET", "/a?b") == b"GET /a?b HTTP/1.1\r\n"
    assert write_request_line("CONNECT", "a:443") is None
    assert write_request_line("GET", "/a b") is None


# -- one connection ----------------------------------------------------------------------------------------------------

ANSWERS = [
    PLAIN + b"hello",
    b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + PLAIN + b"hello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: x\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello",
]


@given(
    st.lists(
        st.tuples(st.sampled_from(["GET", "POST"]), st.sampled_from([None, 0, 5]), st.sampled_from(ANSWERS)), max_size=6
    )
)
@settings(max_examples=200, deadline=None)
def test_both_ways_take_turns_on_one_connection(cycles: list[tuple[str, int | None, bytes]]) -> None:
    """Whichever way an exchange went, in whole or in part, the next one goes as it would have gone anyway."""
    short, long = client(), client(AllTheWay)
    for method, length, answer in cycles:
        seen = []
        for wire in (short, long):
            out = wire.send_request(method, "/", [HOST], length)
            out += wire.send_content(b"x" * (length or 0)) + wire.send_end()
            wire.receive(answer)
            events: list[object] = [out]
            while not isinstance(event := wire.next_event(), (EndOfContent, Signal)):
                events.append((event.status, event.headers.raw) if isinstance(event, ResponseHead) else event)
            events.append(event.trailers and event.trailers.raw if isinstance(event, EndOfContent) else event)
            seen.append([*events, wire.at_cycle_end])
        assert seen[0] == seen[1]
        if not short.at_cycle_end:
            break
        short.start_next_cycle()
        long.start_next_cycle()


@pytest.mark.parametrize("sent_first", [0, 2, 5])
def test_h11_learns_of_content_that_went_past_it(sent_first: int) -> None:
    """An answer that is not plain may come at any time of the request; what was sent until then still counts."""
    wire = client()
    wire.send_request("POST", "/", [HOST], 5)
    assert wire.send_content(b"hello"[:sent_first]) == b"hello"[:sent_first]
    wire.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert isinstance(wire.next_event(), ResponseHead)
    assert wire._h11.our_state is h11.SEND_BODY
    with pytest.raises(LocalProtocolError, match="of what was announced"):
        wire.send_content(b"hello!")
    assert wire.send_content(b"hello"[sent_first:]) == b"hello"[sent_first:]
    assert wire.send_end() == b""
    assert wire._h11.our_state is h11.DONE


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.sampled_from([b"", b";a=b"])), max_size=80),
    st.sampled_from([b"", b"T: 1\r\nt:\t2 \r\nE:\r\n"]),
    st.sampled_from([b"", b"X"]),
    st.lists(st.integers(0, 5000), max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_chunks_are_the_same_by_both_ways(
    chunks: list[tuple[bytes, bytes]], trailers: bytes, wrong: bytes, places: list[int]
) -> None:
    """Content, trailers and errors, whatever the chunks and wherever they are cut."""
    encoded = b"".join(b"%x%b\r\n%b\r\n" % (len(data), extension, data) for data, extension in chunks)
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + encoded + wrong + b"0\r\n" + trailers + b"\r\n"
    short, long = client(), client(AllTheWay)
    ask(short, "GET")
    ask(long, "GET")
    pieces = cut(data, places)
    assert read(short, pieces) == read(long, pieces)
    assert state(short) == state(long)


def test_whole_content_is_taken_at_once() -> None:
    """What came with a plain head is there without another event, and what follows it stays where it is."""
    wire = client()
    ask(wire, "GET")
    wire.receive(PLAIN + b"hello" + b"more")
    wire.next_event()
    assert wire.take_whole_content() == b"hello"
    assert wire.next_event() is Signal.PAUSED
    assert wire.buffered == b"more"


@pytest.mark.parametrize("rest", [b"", b"hell"])
def test_content_is_not_whole_before_its_end(rest: bytes) -> None:
    """Nothing of it is taken then."""
    wire = client()
    ask(wire, "GET")
    wire.receive(PLAIN + rest)
    wire.next_event()
    assert wire.take_whole_content() is None
    assert wire.buffered == rest


def test_content_that_h11_counts_is_not_taken_from_it() -> None:
    """After a head that was not plain everything goes on by the long way."""
    wire = client()
    ask(wire, "GET")
    wire.receive(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    wire.next_event()
    assert wire.take_whole_content() is None
    assert wire.next_event() == b"hello"


def test_headers_come_with_their_index() -> None:
    """Fields that were sorted by name while the head was read say the same as those that nobody has sorted."""
    wire = client()
    ask(wire, "GET")
    lines = [line for line in LINES if line.startswith((b"X: ", b"User-Agent"))]
    wire.receive(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"Content-Length: 0", b"", b""]))
    head = wire.next_event()
    assert isinstance(head, ResponseHead)
    assert head.headers == Headers(head.headers.raw)
    assert head.headers.get_all("x") == ["y", "v" * 120]
