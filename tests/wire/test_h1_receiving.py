"""The receiving half of the HTTP/1.1 wire: its signals, its facts, and what it never lets h11 hold."""

from __future__ import annotations

import pytest

from triohttp._values.limits import ClientLimits, Limits
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._wire.events import EndOfContent, FieldLines, Role, Signal, Wire
from triohttp._wire.h1 import H1Wire
from triohttp.errors import (
    BodyTruncatedError,
    HeadTooLargeError,
    LocalProtocolError,
    RemoteProtocolError,
    TooManyFieldsError,
)

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE: FieldLines = [(b"Upgrade", b"foo"), (b"Connection", b"Upgrade")]


def server(data: bytes = b"", **limits: int) -> H1Wire:
    wire = H1Wire(Role.SERVER, Limits(**limits))  # type: ignore[arg-type]  # all of those used here are counts
    if data:
        wire.receive(data)
    return wire


def client(data: bytes = b"", method: str = "GET", fields: FieldLines = []) -> H1Wire:  # noqa: B006  # never changed
    wire = H1Wire(Role.CLIENT, ClientLimits())
    wire.send_request(method, "a:443" if method == "CONNECT" else "/", [(b"Host", b"a"), *fields], 0)
    wire.send_end()
    if data:
        wire.receive(data)
    return wire


def answer(wire: H1Wire) -> None:
    wire.send_response(200, [], 0)
    wire.send_end()


def test_it_is_a_wire():
    """H1Wire has the face that connections are written against."""
    wire: Wire = server()
    assert wire.role is Role.SERVER


def test_one_request_at_a_time():
    """Nothing of a pipelined request is parsed before the next cycle, though it is bad (RFC 9112 §9.3.2)."""
    wire = server(HEAD + b"\x00")
    assert isinstance(wire.next_event(), RequestHead)
    assert isinstance(wire.next_event(), EndOfContent)
    assert wire.next_event() is Signal.PAUSED
    assert wire.buffered == b"\x00"
    assert not wire.at_cycle_end
    answer(wire)
    assert wire.next_event() is Signal.PAUSED
    assert wire.at_cycle_end
    wire.start_next_cycle()
    with pytest.raises(RemoteProtocolError):
        wire.next_event()


def test_the_end_of_the_stream_between_requests():
    """A client that closes its half after a request still gets its answer, and then the end is seen."""
    wire = server(HEAD)
    wire.receive(b"")
    assert isinstance(wire.next_event(), RequestHead)
    assert isinstance(wire.next_event(), EndOfContent)
    assert wire.next_event() is Signal.ENDED
    answer(wire)
    assert wire.at_cycle_end
    wire.start_next_cycle()
    assert wire.next_event() is Signal.ENDED


def test_head_started():
    """It tells a connection that idles from one whose head is on its way, empty lines included."""
    wire = server()
    assert not wire.head_started
    assert wire.next_event() is Signal.NEED_DATA
    wire.receive(b"\r\n")
    assert wire.next_event() is Signal.NEED_DATA
    assert wire.head_started
    wire.receive(HEAD)
    wire.next_event()
    assert not wire.head_started
    wire.next_event()
    answer(wire)
    wire.start_next_cycle()
    assert not wire.head_started


def test_an_error_is_final():
    """The same error is raised again and nothing that follows is parsed."""
    wire = server(b"GET / HTTP/1.1\r\n\r\n" + HEAD)
    with pytest.raises(RemoteProtocolError) as first:
        wire.next_event()
    wire.receive(HEAD)
    wire.receive(b"")
    with pytest.raises(RemoteProtocolError) as second:
        wire.next_event()
    assert second.value is first.value
    assert wire.buffered == b""
    assert not wire.keep_alive
    assert not wire.at_cycle_end


def test_errors_carry_their_place_and_at_most_80_bytes():
    """What a record of the refusal needs is data, and never a whole line of the peer's."""
    wire = server(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 500 + b"\x00\r\n\r\n")
    with pytest.raises(RemoteProtocolError) as caught:
        wire.next_event()
    error = caught.value
    assert (error.slug, error.suggested_status, error.at) == ("ctl-in-head", 400, "head")
    assert error.received == 25 + 3 + 501
    assert error.detail == b"y" * 79 + b"\x00"


def test_limits_are_named():
    """A limit's error says which one, and its value; the place of an error above the limits is where it was passed."""
    wire = server(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5, max_fields=4)
    with pytest.raises(TooManyFieldsError) as many:
        wire.next_event()
    assert (many.value.limit, many.value.bound, many.value.suggested_status) == ("max_fields", 4, 431)
    wire = server(b"GET /aaaaaaaaaaaaaaaaaaaa", max_line_bytes=20)
    with pytest.raises(HeadTooLargeError) as line:
        wire.next_event()
    assert (line.value.limit, line.value.bound, line.value.suggested_status) == ("max_line_bytes", 20, 414)
    assert line.value.received == 21
    wire = server(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n", max_head_bytes=28)
    with pytest.raises(HeadTooLargeError) as head:
        wire.next_event()
    assert (head.value.limit, head.value.bound, head.value.received) == ("max_head_bytes", 28, 29)


def test_the_smallest_limits_that_fit_are_enough():
    """A bound is what may be, not what may not be."""
    assert isinstance(server(HEAD, max_fields=1, max_line_bytes=14, max_head_bytes=len(HEAD)).next_event(), RequestHead)
    for limits in ({"max_fields": 0}, {"max_line_bytes": 13}, {"max_head_bytes": len(HEAD) - 1}):
        with pytest.raises(HeadTooLargeError):
            server(HEAD, **limits).next_event()


def test_a_request_for_another_host_than_its_host_field_says():
    """In absolute form the target's host counts, and the field says the same afterwards (RFC 9112 §3.2.2)."""
    event = server(b"GET http://B:80/x HTTP/1.1\r\nhOST: a\r\nX: y\r\n\r\n").next_event()
    assert isinstance(event, RequestHead)
    assert (event.authority, event.target) == ("b:80", "/x")
    assert event.headers.raw == [(b"hOST", b"b:80"), (b"X", b"y")]


def test_the_scheme_is_the_connections():
    """What a client writes in front of its host says nothing about encryption."""
    wire = H1Wire(Role.SERVER, Limits(), secure=True)
    wire.receive(b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
    event = wire.next_event()
    assert isinstance(event, RequestHead)
    assert event.scheme == "https"


def test_fields_keep_their_order_and_case():
    """A head's fields are handed on as they were on the wire, without the white space around values."""
    event = server(b"GET / HTTP/1.1\r\nX-b: 1 \r\nHOST: a\r\nx-B:\t2\r\n\r\n").next_event()
    assert isinstance(event, RequestHead)
    assert event.headers.raw == [(b"X-b", b"1"), (b"HOST", b"a"), (b"x-B", b"2")]


def test_content_of_known_length():
    """It comes in pieces as it was received, none above 64 KiB, and the length is known from the head on."""
    content = b"x" * 200_000
    wire = server(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
    wire.next_event()
    assert wire.incoming_length == wire.announced == 200_000
    assert wire.next_event() is Signal.NEED_DATA
    wire.receive(content + HEAD)
    pieces = []
    while isinstance(event := wire.next_event(), bytes):
        pieces.append(event)
    assert isinstance(event, EndOfContent)
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 65536
    assert wire.buffered == HEAD


def test_chunked_content_is_announced_chunk_by_chunk():
    """A chunk's size counts as soon as it is known, so that a bound need not wait for the bytes."""
    wire = server(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.next_event()
    assert wire.incoming_length is None
    assert wire.announced == 0
    wire.receive(b"5\r\nhello\r\n40000000\r\nx")
    assert wire.next_event() == b"hellox"
    assert wire.announced == 5 + 0x40000000


def test_many_small_chunks_come_joined_but_bounded():
    """One event joins some chunks, and no more of them than can be read in well under a millisecond or so."""
    wire = server(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"
    )
    wire.next_event()
    pieces = []
    while isinstance(event := wire.next_event(), bytes):
        pieces.append(len(event))
    assert sum(pieces) == 1000
    assert max(pieces) <= 64
    assert isinstance(event, EndOfContent)


@pytest.mark.parametrize(
    "more",
    [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nF4240\r\n"],
    ids=["counted", "chunked"],
)
def test_h11_never_holds_more_than_64_kib(more):
    """However much is received at once, h11 gets it in pieces and keeps nothing."""
    wire = server(b"POST / HTTP/1.1\r\nHost: a\r\n" + more)
    wire.next_event()
    given = []
    take_in = wire._h11.receive_data

    class Counting:
        def __getattr__(self, name):
            return getattr(h11, name)

        def receive_data(self, data):
            given.append(len(data))
            take_in(data)

    h11 = wire._h11
    wire._h11 = Counting()
    wire.receive(b"x" * 1_000_000)
    while isinstance(wire.next_event(), bytes):
        assert h11.trailing_data[0] == b""
    assert max(given) <= 65536
    assert sum(given) >= 1_000_000


def test_a_bad_head_is_refused_before_h11_can_be_slow():
    """h11 never sees 64 KB of spaces and a NUL, on which its regular expression takes quadratic time."""
    for limits in ({}, {"max_line_bytes": 1 << 20, "max_head_bytes": 1 << 20}):
        wire = server(**limits)
        wire._h11 = None  # type: ignore[assignment]  # to be asked for anything would raise AttributeError
        wire.receive(b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b" " * 65000 + b"\x00\r\n\r\n")
        with pytest.raises(RemoteProtocolError):
            wire.next_event()


def test_truncated_content_says_how_much_there_was():
    """Both numbers are there where both are known (RFC 9112 §8)."""
    wire = server(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    wire.receive(b"")
    wire.next_event()
    assert wire.next_event() == b"abc"
    with pytest.raises(BodyTruncatedError, match="3 bytes of content of 10") as caught:
        wire.next_event()
    assert (caught.value.received, caught.value.expected) == (3, 10)
    assert not wire.keep_alive


def test_expects_continue_until_content_or_an_answer_comes():
    """The client waits from its head on, unless its content is there already (RFC 9110 §10.1.1)."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    wire = server(head)
    assert not wire.expects_continue
    wire.next_event()
    assert wire.expects_continue
    wire.send_interim(103, [])
    assert wire.expects_continue
    wire.send_interim(100, [])
    assert not wire.expects_continue
    wire = server(head + b"h")
    wire.next_event()
    assert not wire.expects_continue
    wire.next_event()
    assert not wire.expects_continue
    wire = server(head.replace(b"1.1", b"1.0"))
    wire.next_event()
    assert not wire.expects_continue
    wire = server(head.replace(b": 5", b": 0"))
    wire.next_event()
    assert not wire.expects_continue


def test_an_upgrade_on_the_server():
    """101 follows the whole request; what was received after it belongs to the new protocol (RFC 9110 §7.8)."""
    wire = server(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\nnew")
    wire.next_event()
    with pytest.raises(LocalProtocolError):
        wire.send_interim(101, UPGRADE)
    assert isinstance(wire.next_event(), EndOfContent)
    with pytest.raises(LocalProtocolError):
        wire.take_over()
    assert wire.send_interim(101, UPGRADE) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n"
    )
    assert wire.next_event() is Signal.PAUSED
    assert wire.take_over() == b"new"
    assert wire.buffered == b""
    with pytest.raises(LocalProtocolError):
        wire.send_response(200, [], 0)


def test_an_upgrade_that_was_not_asked_for_is_not_accepted():
    """A server cannot switch a client that offered nothing."""
    wire = server(HEAD)
    wire.next_event()
    wire.next_event()
    with pytest.raises(LocalProtocolError):
        wire.send_interim(101, UPGRADE)


def test_connect_on_the_server():
    """2xx carries neither length nor content, and the connection is somebody else's from then on (RFC 9110 §9.3.6)."""
    wire = server(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nhello")
    head = wire.next_event()
    assert isinstance(head, RequestHead)
    assert (head.target, head.authority) == ("a:443", "a:443")
    wire.next_event()
    assert wire.send_response(200, [], 0) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert wire.take_over() == b"hello"


def test_take_over_on_the_client():
    """After 101, and after 2xx to CONNECT, the rest of what was received is the new protocol's."""
    for wire in (
        client(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\nnew", fields=UPGRADE),
        client(b"HTTP/1.1 200 OK\r\n\r\nnew", method="CONNECT"),
    ):
        assert isinstance(wire.next_event(), ResponseHead)
        assert wire.next_event() is Signal.PAUSED
        assert wire.take_over() == b"new"
        assert not wire.at_cycle_end


def test_101_before_the_request_is_complete():
    """A server that switches while content is still to come has not understood the request."""
    wire = H1Wire(Role.CLIENT, ClientLimits())
    wire.send_request("POST", "/", [(b"Host", b"a"), *UPGRADE], 5)
    wire.receive(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n")
    with pytest.raises(RemoteProtocolError) as caught:
        wire.next_event()
    assert caught.value.slug == "unexpected-101"


def test_an_early_answer():
    """A final response may come while the request is being sent; the cycle ends when both are over."""
    wire = H1Wire(Role.CLIENT, ClientLimits())
    wire.send_request("POST", "/", [(b"Host", b"a")], 5)
    wire.receive(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
    assert isinstance(wire.next_event(), ResponseHead)
    assert wire.next_event() == b"no"
    assert isinstance(wire.next_event(), EndOfContent)
    assert not wire.at_cycle_end
    wire.send_content(b"hello")
    wire.send_end()
    assert wire.at_cycle_end


def test_bytes_from_a_server_that_was_not_asked():
    """A response that comes before its request is never taken for the answer to it."""
    wire = H1Wire(Role.CLIENT, ClientLimits())
    assert wire.next_event() is Signal.NEED_DATA
    wire.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
    with pytest.raises(RemoteProtocolError) as caught:
        wire.next_event()
    assert caught.value.slug == "unsolicited"


def test_bytes_after_a_response_end_the_connection():
    """However late they come before the next request, they make the connection useless."""
    wire = client(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    wire.next_event()
    wire.next_event()
    wire.next_event()
    assert wire.at_cycle_end
    wire.receive(b"HTTP/1.1 200 OK\r\n")
    assert not wire.at_cycle_end
    assert not wire.keep_alive
    with pytest.raises(LocalProtocolError):
        wire.start_next_cycle()


def test_a_server_that_ended_its_stream_is_not_asked_again():
    """The end of the stream after a whole response makes the connection useless, too."""
    wire = client(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    wire.receive(b"")
    wire.next_event()
    wire.next_event()
    wire.next_event()
    assert wire.next_event() is Signal.ENDED
    assert not wire.at_cycle_end


def test_an_empty_line_before_a_later_response():
    """Only the first response of a connection may have one: later it would be the rest of the last (RFC 9112 §2.2)."""
    wire = client(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    for _ in range(3):
        wire.next_event()
    wire.start_next_cycle()
    wire.send_request("GET", "/", [(b"Host", b"a")], 0)
    wire.send_end()
    wire.receive(b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with pytest.raises(RemoteProtocolError) as caught:
        wire.next_event()
    assert caught.value.slug == "lead-crlf"


def test_close_delimited_content():
    """The head says so before the content comes, and the end of the stream completes it."""
    wire = client(b"HTTP/1.1 200 OK\r\n\r\nhel")
    wire.next_event()
    assert wire.close_delimited
    assert wire.incoming_length is None
    assert not wire.keep_alive
    assert wire.next_event() == b"hel"
    assert wire.next_event() is Signal.NEED_DATA
    wire.receive(b"lo")
    assert wire.next_event() == b"lo"
    wire.receive(b"")
    assert isinstance(wire.next_event(), EndOfContent)
    assert wire.next_event() is Signal.ENDED


def test_cycles_leave_nothing_behind():
    """Facts of one exchange are gone in the next, on both ends."""
    wire = server(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n" + HEAD
    )
    wire.next_event()
    wire.next_event()
    first = wire.next_event()
    assert isinstance(first, EndOfContent)
    assert first.trailers is not None
    answer(wire)
    wire.start_next_cycle()
    assert (wire.incoming_length, wire.announced) == (0, 0)
    wire.next_event()
    assert (wire.incoming_length, wire.announced) == (0, 0)
    second = wire.next_event()
    assert isinstance(second, EndOfContent)
    assert second.trailers is None
    other = client(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", fields=UPGRADE)
    for _ in range(3):
        other.next_event()
    other.start_next_cycle()
    other.send_request("HEAD", "/", [(b"Host", b"a")], 0)
    other.send_end()
    other.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    other.next_event()
    assert isinstance(other.next_event(), EndOfContent)
    assert other.at_cycle_end
