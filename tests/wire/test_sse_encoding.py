"""Server-sent events as bytes: exactly these, and nothing that a program sends becomes something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp._wire.sse import (
    HEARTBEAT,
    Event,
    EventDecoder,
    encode_comment,
    encode_event,
    encode_retry,
    is_event_id,
)

LARGE = 1024 * 1024

BYTES: list[tuple[Event, bytes]] = [
    (Event("Message 1", type="update"), b"event: update\ndata: Message 1\n\n"),
    (Event("a\nb\r\nc"), b"data: a\ndata: b\ndata: c\n\n"),
    (Event("hello", type="x", id="7"), b"id: 7\nevent: x\ndata: hello\n\n"),
    (Event("", type="", id=""), b"id\nevent\ndata\n\n"),
    (Event(), b"data\n\n"),
    (Event("x", retry_ms=500), b"retry: 500\ndata: x\n\n"),
    (Event("x", type="t", id="1", retry_ms=0), b"id: 1\nevent: t\nretry: 0\ndata: x\n\n"),
    (Event("a\rb"), b"data: a\ndata: b\n\n"),
    (Event("a\n"), b"data: a\ndata\n\n"),
    (Event("\n\r"), b"data\ndata\ndata\n\n"),
    (Event(" a"), b"data:  a\n\n"),
    (Event("a\u2028b\x85c\x0bd\x0ce"), "data: a\u2028b\x85c\x0bd\x0ce\n\n".encode()),
    (Event("a\n\nevent: x"), b"data: a\ndata\ndata: event: x\n\n"),
    (Event("日本", type="é", id="😀"), "id: 😀\nevent: é\ndata: 日本\n\n".encode()),
]


@pytest.mark.parametrize(("event", "expected"), BYTES)
def test_an_event_has_these_bytes(event: Event, expected: bytes) -> None:
    """Id, event, retry, data; an empty text is a bare name; CR, LF and CRLF, and nothing else, part lines."""
    assert encode_event(event) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", b":\n\n"),
        ("keep-alive", b": keep-alive\n\n"),
        ("a\nb\r\nc\rd", b": a\n: b\n: c\n: d\n\n"),
        ("a\n\ndata: b", b": a\n:\n: data: b\n\n"),
    ],
)
def test_a_comment_stays_one(text: str, expected: bytes) -> None:
    """Whatever lines it has, each is a comment."""
    assert encode_comment(text) == expected


def test_the_heartbeat_is_an_empty_comment() -> None:
    """Three bytes keep a connection known to be alive."""
    assert encode_comment() == HEARTBEAT


def test_a_time_to_wait_is_no_event() -> None:
    """It is set without anything else being said."""
    assert encode_retry(500) == b"retry: 500\n\n"


@pytest.mark.parametrize(
    "event",
    [
        Event("x", type="a\nb"),
        Event("x", type="a\rdata: y"),
        Event("x", type="\0"),
        Event("x", id="1\r2"),
        Event("x", id="1\n"),
        Event("x", id="a\0"),
        Event("x", retry_ms=-1),
        Event("\ud800"),
        Event("x", type="\udfff"),
    ],
)
def test_what_would_be_something_else_is_refused(event: Event) -> None:
    """A line end in an id would be another field, a NUL would make a browser ignore it."""
    with pytest.raises(ValueError, match=r"."):
        encode_event(event)


@pytest.mark.parametrize(
    "event",
    [
        Event(b"x"),  # type: ignore[arg-type]  # the subject of the test, as below
        Event({"a": 1}),  # type: ignore[arg-type]
        Event(None),  # type: ignore[arg-type]
        Event("x", id=7),  # type: ignore[arg-type]
        Event("x", type=b"t"),  # type: ignore[arg-type]
        Event("x", retry_ms=True),
        Event("x", retry_ms="5"),  # type: ignore[arg-type]
        Event("x", retry_ms=1.5),  # type: ignore[arg-type]
    ],
)
def test_another_type_is_refused(event: Event) -> None:
    """Bytes or a dictionary are no text, and nobody guesses which text they should be."""
    with pytest.raises(TypeError, match=r"must be a"):
        encode_event(event)


TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("\r\n \u2028\x85:\ufeff\0"))
LINE = TEXT.map(lambda text: text.translate({10: "", 13: "", 0: ""}))
EVENTS = st.builds(
    Event,
    TEXT,
    type=st.none() | LINE,
    id=st.none() | LINE.filter(is_event_id),
    retry_ms=st.none() | st.integers(0, 10**17),
)


@given(st.lists(EVENTS | TEXT, max_size=8), st.integers(1, 50))
def test_what_goes_in_comes_out(sent: list[Event | str], size: int) -> None:
    """Any events with any comments between them arrive as they were sent, whatever the pieces."""
    data = b"".join(encode_event(one) if isinstance(one, Event) else encode_comment(one) for one in sent)
    decoder = EventDecoder(LARGE)
    received = []
    for start in range(0, len(data), size):
        decoder.feed(data[start : start + size])
        while (event := decoder.next_event()) is not None:
            received.append(event)
    expected = []
    last_id: str | None = None
    for one in sent:
        if isinstance(one, Event):
            last_id = last_id if one.id is None else one.id
            text = one.data.replace("\r\n", "\n").replace("\r", "\n")
            expected.append(Event(text, type=one.type or "message", id=last_id, retry_ms=one.retry_ms))
    assert received == expected


@pytest.mark.parametrize("wrong", ["i" * 257, "a\x1b[2J", "a\x7f", "a\x85b", "a\tb"])
def test_an_id_that_would_not_come_back_is_refused(wrong: str) -> None:
    """What a server of ours does not read as Last-Event-ID cannot be sent as an id: its reader would start over."""
    with pytest.raises(ValueError, match="would not come back"):
        encode_event(Event("x", id=wrong))
    assert encode_event(Event("x", id="i" * 256)).startswith(b"id: ")
