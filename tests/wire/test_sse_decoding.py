"""Server-sent events out of bytes: what the HTML standard says of each stream, however its bytes arrive."""

from __future__ import annotations

import sys

import pytest

from triohttp._wire.sse import Event, EventDecoder
from triohttp.errors import LimitError

LARGE = 1024 * 1024


def decode(pieces: list[bytes], max_event_bytes: int = LARGE, last_event_id: str | None = None) -> list[Event]:
    decoder = EventDecoder(max_event_bytes, last_event_id)
    events = []
    for piece in pieces:
        decoder.feed(piece)
        while (event := decoder.next_event()) is not None:
            events.append(event)
    return events


def message(data: str, *, type: str = "message", id: str | None = None, retry_ms: int | None = None) -> Event:
    return Event(data, type=type, id=id, retry_ms=retry_ms)


STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "one": (b"data: hello\n\n", [message("hello")]),
    "all the fields": (
        b"id: 7\nevent: tick\nretry: 500\ndata: a\ndata: b\n\n",
        [message("a\nb", type="tick", id="7", retry_ms=500)],
    ),
    "line ends of each kind": (b"data: a\rdata: b\r\ndata: c\n\r\ndata: d\r\r", [message("a\nb\nc"), message("d")]),
    "a CRLF is one end": (b"data: a\r\n\r\ndata: b\r\n\r\n", [message("a"), message("b")]),
    "the last is unfinished": (b"data: a\n\ndata: b\n", [message("a")]),
    "the last line has no end": (b"data: a\n\ndata: b", [message("a")]),
    "only one space is no part": (b"data:  a\n\ndata:b\n\ndata: \n\n", [message(" a"), message("b"), message("")]),
    "an empty value": (b"data\n\ndata\ndata\n\ndata:\n\n", [message(""), message("\n"), message("")]),
    "a colon in the value": (b"data: a: b:c\n\n", [message("a: b:c")]),
    "comments": (b": one\n:\ndata: a\n: two\n\n:\n\n", [message("a")]),
    "no data, no event": (b"event: tick\nid: 1\n\nretry: 9\n\ndata: a\n\n", [message("a", id="1")]),
    "a type is of one event": (b"event: tick\ndata: a\n\ndata: b\n\n", [message("a", type="tick"), message("b")]),
    "an empty type is none": (b"event: tick\nevent\ndata: a\n\n", [message("a")]),
    "an id stays": (b"id: 1\ndata: a\n\ndata: b\n\n", [message("a", id="1"), message("b", id="1")]),
    "an empty id is one": (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [message("a", id="1"), message("b", id="")]),
    "an id with NUL is none": (b"id: 1\nid: 2\0\ndata: a\n\n", [message("a", id="1")]),
    "a time is digits": (
        b"retry: 1e9\nretry: -1\nretry: +5\nretry:\nretry: 1 \nretry: \xd9\xa1\ndata: a\n\nretry: 007\ndata: b\n\n",
        [message("a"), message("b", retry_ms=7)],
    ),
    "a time beyond all bounds": (b"retry: %d\ndata: a\n\n" % 10**4000, [message("a")]),
    "unknown fields": (b"Data: a\n data: b\nda ta: c\nfoo: d\ndata: e\n\n", [message("e")]),
    "a mark at the start": (b"\xef\xbb\xbfdata: a\n\n", [message("a")]),
    "a mark twice": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [message("b")]),
    "a mark before an empty line": (b"\xef\xbb\xbf\ndata: a\n\n", [message("a")]),
    "a mark later on": (b"\n\xef\xbb\xbfdata: a\ndata: b\n\n", [message("b")]),
    "half a mark": (b"\xef\xbbdata: a\ndata: b\n\n", [message("b")]),
    "other line breaks are text": ("data: a\u2028b\x85c\x0bd\x0c\n\n".encode(), [message("a\u2028b\x85c\x0bd\x0c")]),
    "not UTF-8": (b"data: \xff \xe2\x82 \xe2\x82\ndata: \xf0\x9f\n\n", [message("\ufffd \ufffd \ufffd\n\ufffd")]),
    "UTF-8": ("id: ü\nevent: 😀\ndata: 日本\n\n".encode(), [message("日本", type="😀", id="ü")]),
    "NUL in data": (b"data: a\0b\n\n", [message("a\0b")]),
    "nothing but line ends": (b"\n\r\n\r\r\n\n", []),
    "nothing": (b"", []),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_says_what_the_standard_says(name: str) -> None:
    """Whole, byte by byte, and cut in two or three at every place."""
    data, expected = STREAMS[name]
    assert decode([data]) == expected
    assert decode([data[i : i + 1] for i in range(len(data))]) == expected
    if len(data) > 200:
        return
    for first in range(len(data) + 1):
        assert decode([data[:first], data[first:]]) == expected
        assert decode([data[:first], b"", data[first : first + 1], data[first + 1 :]]) == expected


def test_an_event_is_there_with_its_last_byte() -> None:
    """Nothing is held back for a line end that may have a second half."""
    decoder = EventDecoder(LARGE)
    decoder.feed(b"data: a\r\n\r")
    assert decoder.next_event() == message("a")
    decoder.feed(b"\ndata: b\r\r")
    assert decoder.next_event() == message("b")
    decoder.feed(b"\r")
    assert decoder.next_event() is None


def test_the_last_id_counts_once_its_block_is_complete() -> None:
    """A client that goes on after an interruption goes on after what it has seen whole."""
    decoder = EventDecoder(LARGE, "1")
    decoder.feed(b"data: a\n\nid: 2\n")
    assert decoder.next_event() == message("a", id="1")
    assert decoder.next_event() is None
    assert decoder.last_event_id == "1"
    decoder.feed(b"\n")
    assert decoder.next_event() is None
    assert decoder.last_event_id == "2"


def test_a_time_to_wait_counts_without_an_event() -> None:
    """A server may set it alone."""
    decoder = EventDecoder(LARGE)
    assert decoder.retry_ms is None
    decoder.feed(b"retry: 250\n\n")
    assert decoder.next_event() is None
    assert decoder.retry_ms == 250


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        (b"data: 3456789\n\n", True),
        (b"data: 34567890\n\n", False),
        (b"data: 3456789", True),
        (b"data: 34567890", False),
        (b"data: 3\ndata:\n\n", True),
        (b"data: 3\ndata: \n\n", False),
        (b"data\n" * 3, False),
        (b"data: 345678\n\n" * 100, True),
        (b": 3456789\n" * 100, True),
        (b": 345678901234\n", False),
        (b"event: 89012\nid: 5678901\ndata: 3\n\n", True),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_an_event_is_bounded(data: bytes, fits: bool, size: int) -> None:
    """One line, and the data lines of an event together; comments and whole events do not add up."""
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    if fits:
        decode(pieces, 13)
        return
    with pytest.raises(LimitError) as caught:
        decode(pieces, 13)
    assert (caught.value.limit, caught.value.bound) == ("max_event_bytes", 13)


def test_what_came_before_too_much_is_delivered() -> None:
    """The events in front of the one that is too large can be had; then the error is the same for ever."""
    decoder = EventDecoder(10)
    decoder.feed(b"data: a\n\ndata: 0123456789\n\ndata: b\n\n")
    assert decoder.next_event() == message("a")
    for _ in range(2):
        with pytest.raises(LimitError):
            decoder.next_event()


def lines_run(pieces: list[bytes]) -> int:
    """Return how many lines of Python ran while pieces were decoded."""
    count = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]  # it returns itself, which no annotation can say
    try:
        decode(pieces)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("part", [b"x", b"data: a\n\n", b"data\n", b"\r", b":\n", b"\xff"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_the_work_is_in_proportion_to_the_bytes(part: bytes, size: int) -> None:
    """Ten times the bytes take ten times the work, whatever the bytes and the pieces."""

    def work(times: int) -> int:
        data = part * times
        return lines_run([data[start : start + size] for start in range(0, len(data), size)])

    assert work(5000) < 12 * work(500) + 200
