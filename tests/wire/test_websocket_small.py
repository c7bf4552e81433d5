"""The short way of small messages: it says what wsproto says, and leaves to it whatever is not plain."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websocket_frames import BINARY, CONTINUATION, PING, TEXT, frame
from wsproto.connection import CLIENT, SERVER, Connection
from wsproto.events import BytesMessage, Message, TextMessage

from triohttp import WebSocketLimits
from triohttp._wire.websocket import WebSocketWire
from triohttp._wire.websocket_small import SMALL_BYTES, read_small, write_small
from triohttp.lowlevel import Role

SIZES = [0, 1, 3, 4, 5, 124, 125, 126, 127, 128, 255, 256, 1023, SMALL_BYTES]


def other_end(masked: bool) -> Connection:
    """wsproto's own end, which reads frames that are masked or not."""
    return Connection(SERVER if masked else CLIENT)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_both_ways_agree_with_wsproto(size: int, masked: bool) -> None:
    """What is written is read by wsproto, and what wsproto writes is read, for each form of the length."""
    content = os.urandom(size)
    reader = other_end(masked)
    reader.receive_data(write_small(content, text=False, masked=masked))
    assert [event.data for event in reader.events() if isinstance(event, Message)] == [content]
    writer = Connection(CLIENT if masked else SERVER)
    message = read_small(writer.send(BytesMessage(content)), masked=masked)
    assert message == BytesMessage(content)
    text = ("ü" * size)[: size // 2]
    message = read_small(writer.send(TextMessage(text)), masked=masked)
    assert message == TextMessage(text)


@given(st.binary(max_size=40), st.booleans())
def test_whatever_is_read_is_what_wsproto_reads(data: bytes, masked: bool) -> None:
    """Of any bytes: either nothing is read, or wsproto reads the same one message of them."""
    message = read_small(data, masked=masked)
    if message is not None:
        reader = other_end(masked)
        reader.receive_data(data)
        assert list(reader.events()) == [message]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81",
        frame(TEXT, "a", mask=True)[:-1],
        frame(TEXT, "a", mask=True) + b"\x81",
        frame(TEXT, "a"),
        frame(TEXT, b"\xff", mask=True),
        frame(TEXT, "a", fin=False, mask=True),
        frame(CONTINUATION, "a", mask=True),
        frame(TEXT, "a", rsv=4, mask=True),
        frame(PING, "a", mask=True),
        frame(BINARY, bytes(SMALL_BYTES + 1), mask=True),
        b"\x82\xfe\x00\x05" + bytes(9),  # a length of two bytes that fits into one
        b"\x82\xff" + bytes(7) + b"\x05" + bytes(9),
    ],
)
def test_what_is_not_plain_is_left_to_wsproto(data: bytes) -> None:
    """Parts, several, unmasked, broken, fragmented, compressed, control and large frames are not for the short way."""
    assert read_small(data, masked=True) is None


def test_a_small_message_inside_of_another_is_a_breach_all_the_same() -> None:
    """The short way is not taken while a message or a frame has begun: what comes then means something else."""
    wire = WebSocketWire(Role.SERVER, WebSocketLimits())
    wire.receive(frame(TEXT, "one", fin=False, mask=True))
    assert wire.next_event() == TextMessage("one", message_finished=False)
    wire.receive(frame(TEXT, "two", mask=True))
    close = wire.next_event()
    assert (close.code, close.breach) == (1002, True)


def test_a_bound_below_the_short_way_counts() -> None:
    """With ``max_message_bytes=10`` a message of eleven is too large, however it comes."""
    wire = WebSocketWire(Role.SERVER, WebSocketLimits(max_message_bytes=10))
    wire.receive(frame(BINARY, bytes(10), mask=True))
    assert wire.next_event() == BytesMessage(bytes(10))
    wire.receive(frame(BINARY, bytes(11), mask=True))
    assert wire.next_event().code == 1009


def test_masks_are_fresh() -> None:
    """No two frames of a client have the same mask, which nobody can foresee."""
    assert len({write_small(b"x", text=False, masked=True)[2:6] for _ in range(100)}) == 100
