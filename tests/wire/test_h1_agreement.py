"""Properties of the wire: the outcome is the split's neither nor the hot path's, and good content comes through."""

from __future__ import annotations

import re

from h1_messages import cut, messages, read
from hypothesis import given, settings
from hypothesis import strategies as st

from triohttp._values.limits import ClientLimits, Limits
from triohttp._values.message import RequestHead
from triohttp._wire.events import Role
from triohttp._wire.fields import examine_request
from triohttp._wire.h1 import H1Wire
from triohttp.errors import RemoteProtocolError

LIMITS = st.sampled_from(
    [
        Limits(),
        Limits(max_line_bytes=100, max_head_bytes=200, max_fields=4),
        Limits(max_line_bytes=20),
        Limits(max_fields=1),
    ]
)


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
