"""The sending half of the HTTP/1.1 wire: what goes out, byte by byte, and what is refused."""

from __future__ import annotations

import h11
import pytest

from triohttp._values.headers import Headers
from triohttp._values.limits import ClientLimits, Limits
from triohttp._wire.events import EndOfContent, FieldLines, Role, Signal
from triohttp._wire.h1 import H1Wire
from triohttp.errors import LocalProtocolError, RemoteProtocolError

TEXT: FieldLines = [(b"Content-Type", b"text/plain")]
HOST: FieldLines = [(b"Host", b"a")]


def server(request: bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") -> H1Wire:
    """A server that has read a whole request."""
    wire = H1Wire(Role.SERVER, Limits())
    wire.receive(request)
    while not isinstance(wire.next_event(), EndOfContent):
        pass
    return wire


def client() -> H1Wire:
    return H1Wire(Role.CLIENT, ClientLimits())


def get(method: str = "GET", version: str = "1.1", more: str = "") -> bytes:
    return f"{method} / HTTP/{version}\r\nHost: a\r\n{more}\r\n".encode()


def test_an_answer_of_known_length_has_content_length_and_the_tables_phrase():
    """The caller's fields come first and as they are; the wire adds the length and nothing else."""
    wire = server()
    assert (
        wire.send_response(200, TEXT, 5) == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
    )
    assert wire.send_content(b"hel") + wire.send_content(b"") + wire.send_content(b"lo") == b"hello"
    assert wire.send_end() == b""
    assert wire.at_cycle_end
    assert TEXT == [(b"Content-Type", b"text/plain")]


def test_an_answer_of_unknown_length_is_chunked():
    """Every piece of content is a chunk, empty pieces are none, and trailers follow the last."""
    wire = server()
    head = wire.send_response(200, TEXT, None)
    assert head == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert wire.send_content(b"hello") == b"5\r\nhello\r\n"
    assert wire.send_content(b"") == b""
    assert wire.send_end(Headers({"X-T": "1"})) == b"0\r\nX-T: 1\r\n\r\n"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("fields", [TEXT, [(b"Content-Length", b"70026")]], ids=["unknown", "known"])
def test_content_is_framed_as_h11_does_it(version: bytes, fields: FieldLines):
    """Bytes and states are those of an h11 that was given every piece, whatever of them the wire does by itself."""
    request = b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version
    wire = server(request)
    reference = h11.Connection(h11.SERVER)
    reference.receive_data(request)
    while reference.next_event() not in (h11.PAUSED, h11.NEED_DATA) and reference.their_state is not h11.DONE:
        pass
    wire.send_response(200, fields, None)
    reference.send(h11.Response(status_code=200, headers=fields))
    for piece in (b"a", b"", b"x" * 10, b"y" * 15, bytes(70_000)):
        assert wire.send_content(piece) == reference.send(h11.Data(data=piece))
        assert wire._h11.states == reference.states
    assert wire.send_end() == reference.send(h11.EndOfMessage())
    assert wire._h11.states == reference.states


def test_an_http10_client_gets_content_until_the_end_of_the_stream():
    """Without a length there are no chunks, no trailers and no further request (RFC 9112 §6.1)."""
    wire = server(get(version="1.0"))
    assert wire.send_response(200, [], None) == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    assert wire.send_content(b"hello") == b"hello"
    assert wire.send_end(Headers({"X-T": "1"})) == b""
    assert not wire.at_cycle_end
    assert not wire.keep_alive


def test_head_is_answered_like_get_without_the_content():
    """The fields are those of a GET; content is thrown away without a word (RFC 9110 §9.3.2)."""
    wire = server(get("HEAD"))
    assert wire.send_response(200, [], 5) == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert wire.send_content(b"hello") + wire.send_end() == b""
    assert wire.at_cycle_end
    wire = server(get("HEAD"))
    assert b"Transfer-Encoding: chunked\r\n" in wire.send_response(200, [], None)
    assert wire.send_content(b"hello") + wire.send_end(Headers({"X-T": "1"})) == b""
    assert wire.at_cycle_end


def test_head_may_state_the_length_that_get_would_have():
    """A Content-Length of the caller's own stands where there is no content to contradict it (RFC 9110 §8.6)."""
    wire = server(get("HEAD"))
    assert (
        wire.send_response(200, [(b"Content-Length", b"1234")], 0) == b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
    )
    wire = server()
    head = wire.send_response(304, [(b"ETag", b'"x"'), (b"content-length", b"1234")], 0)
    assert head == b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 1234\r\n\r\n'


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("length", [0, 5, None])
def test_no_content_statuses_carry_neither_content_nor_framing(status, length):
    """204 and 304 end with their head, whatever the caller gives (RFC 9112 §6.3)."""
    wire = server()
    head = wire.send_response(status, [], length)
    assert head.count(b"\r\n") == 2
    assert wire.send_content(b"hello") + wire.send_end() == b""
    assert wire.at_cycle_end


def test_reset_content_says_that_it_is_empty():
    """205 has a length of 0 (RFC 9110 §15.3.6)."""
    wire = server()
    assert wire.send_response(205, [], 5) == b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"
    assert wire.send_content(b"hello") + wire.send_end() == b""


def test_content_longer_than_announced_does_not_go_out():
    """The offending piece is refused whole; what went before stays valid and the message stays open."""
    wire = server()
    wire.send_response(200, [], 3)
    assert wire.send_content(b"ab") == b"ab"
    with pytest.raises(LocalProtocolError, match="2 bytes of content where 1 are left") as caught:
        wire.send_content(b"cd")
    assert caught.value.slug == "content-too-long"
    assert wire.send_content(b"c") == b"c"
    assert wire.send_end() == b""


def test_content_shorter_than_announced_cannot_end():
    """The end is refused, so that the peer sees the message cut."""
    wire = server()
    wire.send_response(200, [], 10)
    wire.send_content(b"abc")
    with pytest.raises(LocalProtocolError, match="7 bytes") as caught:
        wire.send_end()
    assert caught.value.slug == "content-too-short"
    assert not wire.at_cycle_end


@pytest.mark.parametrize(
    "field",
    [
        (b"Transfer-Encoding", b"chunked"),
        (b"transfer-encoding", b"gzip"),
        (b"Content-Length", b"4"),
        (b"CONTENT-LENGTH", b"x"),
    ],
)
@pytest.mark.parametrize("length", [5, 0])
def test_framing_is_not_the_callers(field, length):
    """A caller's Transfer-Encoding, or a Content-Length that is not the content's, is refused on both ends."""
    with pytest.raises(LocalProtocolError) as caught:
        server().send_response(200, [field], length)
    assert caught.value.slug == "framing"
    with pytest.raises(LocalProtocolError):
        client().send_request("POST", "/", [*HOST, field], length)


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"5, 5", b"9223372036854775808"])
def test_a_stated_length_is_a_number(value):
    """A Content-Length that no reader would take is refused, content of unknown length or not."""
    for length in (5, None):
        with pytest.raises(LocalProtocolError):
            server().send_response(200, [(b"Content-Length", value)], length)
    with pytest.raises(LocalProtocolError):
        server().send_response(200, [(b"Content-Length", b"5"), (b"Content-Length", b"5")], 5)


def test_a_stated_length_announces_content_of_unknown_length():
    """A caller that streams may know the length; it is held to it."""
    wire = server()
    assert wire.send_response(200, [(b"Content-Length", b"5")], None) == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    with pytest.raises(LocalProtocolError):
        wire.send_content(b"hello!")
    with pytest.raises(LocalProtocolError):
        wire.send_end()
    wire = client()
    assert wire.send_request("PUT", "/", [*HOST, (b"Content-Length", b"5")], None).endswith(
        b"Content-Length: 5\r\n\r\n"
    )


def test_a_refused_head_can_be_replaced():
    """After a refusal nothing has begun: another answer may still be given."""
    wire = server()
    with pytest.raises(LocalProtocolError):
        wire.send_response(200, [(b"Transfer-Encoding", b"chunked")], None)
    with pytest.raises(LocalProtocolError):
        wire.send_response(700, [], 0)
    with pytest.raises(LocalProtocolError):
        wire.send_response(200, [(b"Bad Name", b"x")], 0)
    with pytest.raises(LocalProtocolError):
        wire.send_response(200, [(b"X", b"a\r\nSet-Cookie: evil=1")], 0)
    assert wire.send_response(500, [], 0).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


def test_an_equal_content_length_is_not_written_twice():
    """A caller that states the right length changes nothing."""
    assert (
        server().send_response(200, [(b"content-length", b"5")], 5) == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    )


@pytest.mark.parametrize("more", ["Connection: close\r\n", "Connection: x, Close\r\n"])
def test_close_is_answered_with_close(more):
    """A client that closes is told so once, and no further cycle begins."""
    wire = server(get(more=more))
    assert wire.send_response(200, [], 0).count(b"Connection: close\r\n") == 1
    wire.send_end()
    with pytest.raises(LocalProtocolError):
        wire.start_next_cycle()


def test_close_after_closes():
    """close_after puts the option into the next head of either role."""
    wire = server()
    wire.close_after = True
    assert b"\r\nConnection: close\r\n" in wire.send_response(200, [], 0)
    assert not wire.keep_alive
    wire = client()
    wire.close_after = True
    assert b"\r\nConnection: close\r\n" in wire.send_request("GET", "/", HOST, 0)


def test_a_callers_close_closes_and_its_other_options_stay():
    """Connection options of a caller go out on one line; close and keep-alive among them are the wire's."""
    wire = server()
    head = wire.send_response(
        426, [(b"Connection", b"Upgrade, keep-alive"), (b"Upgrade", b"foo"), (b"Connection", b"close")], 0
    )
    assert head.split(b"\r\n")[1:-2] == [
        b"Upgrade: foo",
        b"Connection: Upgrade",
        b"Content-Length: 0",
        b"Connection: close",
    ]
    assert not wire.keep_alive


def test_an_answer_to_nothing_closes():
    """A 408 or 503 may be sent while a head has not come, and nothing is read after it."""
    wire = H1Wire(Role.SERVER, Limits())
    wire.receive(b"GET / HTTP/1.1\r\nHo")
    assert wire.next_event() is Signal.NEED_DATA
    head = wire.send_response(408, [], 0)
    assert head == b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert wire.send_end() == b""
    wire.receive(b"st: a\r\n\r\n")
    assert wire.next_event() is Signal.PAUSED
    assert not wire.at_cycle_end


@pytest.mark.parametrize("request_", [b"HEAD / HTTP/1.1\r\n\r\n", b"HEAD / HTTP/1.0\r\nHost: a/b\r\n\r\n", b"\x00"])
def test_an_answer_to_a_refused_head_does_not_depend_on_it(request_):
    """What a head that is no good said about its method or version counts for nothing."""
    wire = H1Wire(Role.SERVER, Limits())
    wire.receive(request_)
    with pytest.raises(RemoteProtocolError):
        wire.next_event()
    head = wire.send_response(400, [], 3)
    assert head == b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    assert wire.send_content(b"no\n") + wire.send_end() == b"no\n"


def test_an_answer_that_does_not_wait_for_the_content_closes():
    """A final answer instead of 100 leaves nobody knowing whether the content follows (RFC 9110 §10.1.1)."""
    wire = H1Wire(Role.SERVER, Limits())
    wire.receive(get("POST", more="Content-Length: 5\r\nExpect: 100-continue\r\n"))
    wire.next_event()
    assert wire.expects_continue
    assert b"\r\nConnection: close\r\n" in wire.send_response(401, [], 0)


def test_interim_responses():
    """1xx go out without framing, any number of them, before the final answer only."""
    wire = server()
    assert wire.send_interim(103, [(b"Link", b"</a>")]) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert wire.send_interim(100, []) == b"HTTP/1.1 100 Continue\r\n\r\n"
    with pytest.raises(LocalProtocolError):
        wire.send_interim(200, [])
    wire.send_response(200, [], 0)
    with pytest.raises(LocalProtocolError):
        wire.send_interim(103, [])


def test_an_http10_client_gets_no_interim_responses():
    """RFC 9110 §15.2."""
    wire = server(get(version="1.0"))
    assert wire.send_interim(103, []) == b""
    with pytest.raises(LocalProtocolError):
        wire.send_interim(101, [(b"Upgrade", b"foo"), (b"Connection", b"Upgrade")])
    assert wire.send_response(200, [], 0).startswith(b"HTTP/1.1 200 OK\r\n")


def test_no_framing_in_interim_responses():
    """RFC 9110 §8.6, RFC 9112 §6.1."""
    for field in ((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")):
        with pytest.raises(LocalProtocolError):
            server().send_interim(103, [field])


@pytest.mark.parametrize("name", ["Content-Length", "host", "Transfer-Encoding", "Set-Cookie"])
def test_forbidden_trailers_are_refused(name):
    """What a strict reader would refuse in a trailer section is not sent in one (RFC 9110 §6.5.1)."""
    wire = server()
    wire.send_response(200, [], None)
    with pytest.raises(LocalProtocolError) as caught:
        wire.send_end(Headers({name: "1"}))
    assert caught.value.slug == "trailers"
    assert wire.send_end() == b"0\r\n\r\n"


def test_trailers_need_chunked_content():
    """A message of announced length has no place for them."""
    wire = server()
    wire.send_response(200, [], 0)
    with pytest.raises(LocalProtocolError):
        wire.send_end(Headers({"X-T": "1"}))
    assert wire.send_end(Headers()) == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_a_request_without_content_has_no_framing(method):
    """No length is stated where none is expected (RFC 9110 §8.6)."""
    wire = client()
    assert wire.send_request(method, "/x", HOST, 0) == f"{method} /x HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert wire.send_end() == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_request_whose_method_has_content_says_when_it_is_empty(method):
    """RFC 9110 §8.6."""
    assert b"\r\nContent-Length: 0\r\n" in client().send_request(method, "/", HOST, 0)


def test_requests_with_content():
    """A length is stated where it is known; else the content is chunked."""
    wire = client()
    assert wire.send_request("GET", "/", HOST, 3) == b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    assert wire.send_content(b"abc") + wire.send_end() == b"abc"
    wire = client()
    assert (
        wire.send_request("GET", "/", HOST, None) == b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert wire.send_content(b"abc") + wire.send_end(Headers({"X": "1"})) == b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n"


def test_host_comes_first():
    """RFC 9110 §7.2."""
    data = client().send_request("GET", "/", [(b"Accept", b"*/*"), (b"Host", b"a")], 0)
    assert data == b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("GET / HTTP/1.1\r\nX:", "/", HOST),
        ("G ET", "/", HOST),
        ("GET", "/ HTTP/1.1\r\nX: y\r\n\r\n", HOST),
        ("GET", "/a b", HOST),
        ("GET", "", HOST),
        ("GET", "/é", HOST),
        ("GÉT", "/", HOST),
        ("GET", "/", []),
        ("GET", "/", [*HOST, *HOST]),
        ("GET", "/", [*HOST, (b"X", b"a\r\nY: b")]),
        ("GET", "/", [*HOST, (b"X Y", b"a")]),
    ],
)
def test_nothing_is_injected_into_a_request(method, target, fields):
    """A head that would not be read as it was meant is refused, and the wire is as it was."""
    wire = client()
    with pytest.raises(LocalProtocolError):
        wire.send_request(method, target, fields, 0)
    assert wire.send_request("GET", "/", HOST, 0) == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_roles_and_order_are_kept():
    """Each call has its time; at any other it is refused and nothing changes."""
    wire = server()
    for call in (
        lambda: wire.send_content(b"x"),
        wire.send_end,
        lambda: wire.send_request("GET", "/", HOST, 0),
        wire.start_next_cycle,
        wire.take_over,
    ):
        with pytest.raises(LocalProtocolError):
            call()
    wire.send_response(200, [], 0)
    with pytest.raises(LocalProtocolError):
        wire.send_response(200, [], 0)
    wire.send_end()
    with pytest.raises(LocalProtocolError):
        wire.send_end()
    wire.start_next_cycle()
    wire = client()
    with pytest.raises(LocalProtocolError):
        wire.send_response(200, [], 0)
    with pytest.raises(LocalProtocolError):
        wire.send_interim(100, [])
    wire.send_request("GET", "/", HOST, 0)
    with pytest.raises(LocalProtocolError):
        wire.send_request("GET", "/", HOST, 0)
