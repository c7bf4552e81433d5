"""permessage-deflate: what is agreed on, what goes through, and what a hostile peer can make of it (RFC 7692)."""

from __future__ import annotations

import time
import tracemalloc
import zlib
from collections.abc import Generator, Iterator, Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websocket_corpus import build
from websockets.exceptions import NegotiationError
from websockets.extensions import permessage_deflate as peer
from websockets.frames import Frame as PeerFrame
from websockets.frames import Opcode
from websockets.headers import build_extension, parse_extension
from websockets.streams import StreamReader

from triohttp import PerMessageDeflate, WebSocketLimits
from triohttp._wire.websocket import BytesMessage, Close, Role, TextMessage, WebSocketWire
from triohttp._wire.websocket_deflate import (
    MAX_FINAL_BLOCKS,
    Agreement,
    Deflater,
    Inflater,
    accept_offer,
    confirm_answer,
    make_offer,
)

MIB = 1024 * 1024
NAME = "permessage-deflate"
SMALL = PerMessageDeflate()
LARGE = PerMessageDeflate(window_bits=15, context_takeover=True, min_bytes=0)

# -- agreeing ----------------------------------------------------------------------------------------------------------

NO_TAKEOVER = "server_no_context_takeover; client_no_context_takeover"
ACCEPTED: dict[str, tuple[PerMessageDeflate, str, Agreement]] = {
    NAME: (LARGE, NAME, Agreement()),
    f" ,, {NAME} , ": (LARGE, NAME, Agreement()),
    "PerMessage-Deflate": (LARGE, NAME, Agreement()),
    f"{NAME}; client_no_context_takeover": (
        LARGE,
        f"{NAME}; client_no_context_takeover",
        Agreement(client_takeover=False),
    ),
    f"{NAME}; server_no_context_takeover": (
        LARGE,
        f"{NAME}; server_no_context_takeover",
        Agreement(server_takeover=False),
    ),
    f"{NAME} ;{NO_TAKEOVER}": (LARGE, f"{NAME}; {NO_TAKEOVER}", Agreement(15, 15, False, False)),
    f"{NAME}; client_max_window_bits": (LARGE, f"{NAME}; client_max_window_bits=15", Agreement()),
    f"{NAME}; client_max_window_bits=10": (
        LARGE,
        f"{NAME}; client_max_window_bits=10",
        Agreement(client_window_bits=10),
    ),
    f'{NAME}; client_max_window_bits="10"': (
        LARGE,
        f"{NAME}; client_max_window_bits=10",
        Agreement(client_window_bits=10),
    ),
    f"{NAME};client_max_window_bits\t=\t10": (
        LARGE,
        f"{NAME}; client_max_window_bits=10",
        Agreement(client_window_bits=10),
    ),
    f"{NAME}; client_max_window_bits=8": (LARGE, f"{NAME}; client_max_window_bits=8", Agreement(client_window_bits=8)),
    f"{NAME}; server_max_window_bits=9": (LARGE, f"{NAME}; server_max_window_bits=9", Agreement(server_window_bits=9)),
    f"{NAME}; SERVER_MAX_WINDOW_BITS=9": (LARGE, f"{NAME}; server_max_window_bits=9", Agreement(server_window_bits=9)),
    f"{NAME}; server_max_window_bits=15; client_max_window_bits=15": (
        LARGE,
        f"{NAME}; server_max_window_bits=15; client_max_window_bits=15",
        Agreement(),
    ),
    f"x-webkit-deflate-frame; no_context_takeover, {NAME}": (LARGE, NAME, Agreement()),
    f"{NAME}; server_max_window_bits=8, {NAME}": (LARGE, NAME, Agreement()),
    f"{NAME}; foo=bar, {NAME}; client_no_context_takeover": (
        LARGE,
        f"{NAME}; client_no_context_takeover",
        Agreement(client_takeover=False),
    ),
    f"{NAME}; client_no_context_takeover; client_no_context_takeover, {NAME}": (LARGE, NAME, Agreement()),
    f"{NAME}; client_max_window_bits, {NAME}": (LARGE, f"{NAME}; client_max_window_bits=15", Agreement()),
    f"{NAME}; client_max_window_bits ": (
        SMALL,
        f"{NAME}; {NO_TAKEOVER}; server_max_window_bits=12; client_max_window_bits=12",
        Agreement(12, 12, False, False),
    ),
    f"{NAME} ": (SMALL, f"{NAME}; {NO_TAKEOVER}; server_max_window_bits=12", Agreement(12, 15, False, False)),
    f"{NAME}; server_max_window_bits=10": (
        SMALL,
        f"{NAME}; {NO_TAKEOVER}; server_max_window_bits=10",
        Agreement(10, 15, False, False),
    ),
}


@pytest.mark.parametrize("offer", ACCEPTED)
def test_an_offer_is_taken_as_far_as_both_ends_can(offer: str) -> None:
    """The first offer that is understood whole is answered, with what both want."""
    options, answer, agreement = ACCEPTED[offer]
    assert accept_offer(offer, options) == (answer, agreement)


BAD_PARAMETERS = [
    *(f"{end}_max_window_bits={value}" for end, value in product(
        ["client", "server"],
        ["abc", "", '""', '"', '"10', '10"', "7", "16", "99", "010", "+10", "1_0", "-9", "9.0", "1e1", "1 0", "\xb2",
         "\u0661\u0660", "0x9", "9" * 5000, "10;=", "10=10"],
    )),
    *(f"{end}_no_context_takeover={value}" for end, value in product(["client", "server"], ["", "1", "true", '""'])),
    *(f"{flag}; {flag}" for flag in ["client_no_context_takeover", "server_no_context_takeover"]),
    "client_max_window_bits; client_max_window_bits=10",
    "client_max_window_bits=10; client_max_window_bits=10",
    "server_max_window_bits=10; server_max_window_bits=11",
    "server_max_window_bits",
    "server_max_window_bits=8",
    "foo=bar",
    "foo",
    "=",
    "=10",
    "client max_window_bits",
    "client_no_context_takeover\x00",
    "\xff",
    "(comment)",
]  # fmt: skip


@pytest.mark.parametrize("parameters", BAD_PARAMETERS, ids=lambda text: text[:40])
def test_an_offer_that_is_not_understood_is_declined(parameters: str) -> None:
    """One parameter that is unknown, twice there, or has a value that it must not have, is enough (§7.1)."""
    assert accept_offer(f"{NAME}; {parameters}", LARGE) is None
    assert accept_offer(f"foo, {NAME}; {parameters}", SMALL) is None


@pytest.mark.parametrize(
    "field", ["", ",", ";", ",;,", "; a", "foo", "foo; bar=baz", "a b", f'"{NAME}"', f"{NAME}/", "\xff", "=" * 1000]
)
def test_a_field_without_the_extension_is_declined(field: str) -> None:
    """What names nothing that is known gets no extension, and no error."""
    assert accept_offer(field, LARGE) is None


CONFIRMED: dict[str, tuple[PerMessageDeflate, Agreement]] = {
    NAME: (LARGE, Agreement()),
    f"{NAME} ": (SMALL, Agreement(15, 12, True, False)),
    f"{NAME}; client_max_window_bits=9": (LARGE, Agreement(client_window_bits=9)),
    f"{NAME}; client_max_window_bits=15": (SMALL, Agreement(15, 12, True, False)),
    f"{NAME}; server_max_window_bits=8": (LARGE, Agreement(server_window_bits=8)),
    f'{NAME};server_max_window_bits="12"': (LARGE, Agreement(server_window_bits=12)),
    f"{NAME}; {NO_TAKEOVER}": (LARGE, Agreement(15, 15, False, False)),
    f"{NAME}; {NO_TAKEOVER}; server_max_window_bits=10; client_max_window_bits=11": (
        SMALL, Agreement(10, 11, False, False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("answer", CONFIRMED)
def test_an_answer_says_what_is_agreed(answer: str) -> None:
    """A client keeps to what the server said, and to its own options where the server was silent."""
    options, agreement = CONFIRMED[answer]
    assert confirm_answer(answer, options) == agreement


@pytest.mark.parametrize(
    "answer",
    [
        *(f"{NAME}; {parameters}" for parameters in BAD_PARAMETERS if parameters != "server_max_window_bits=8"),
        f"{NAME}; client_max_window_bits",
        f"{NAME}; client_max_window_bits=8",
        f"{NAME}, {NAME}",
        f"{NAME}, foo",
        "foo",
        "x-webkit-deflate-frame",
        ";",
        ",",
        "\xff",
        "a" * 5000,
    ],
    ids=lambda text: text[:60],
)
def test_an_answer_to_nothing_that_was_offered_is_refused(answer: str) -> None:
    """A server's answer counts when every word of it does; the error is short, and can be printed."""
    with pytest.raises(ValueError) as caught:
        confirm_answer(answer, LARGE)
    assert type(caught.value) is ValueError
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


@given(
    field=st.text(st.characters(max_codepoint=255), max_size=60)
    | st.lists(
        st.sampled_from(
            [
                NAME,
                "client_max_window_bits",
                "server_max_window_bits",
                "server_no_context_takeover",
                "foo",
                ";",
                "; ",
                ",",
                "=",
                '"',
                "10",
                "8",
                "\\",
                " ",
                "\xff",
            ]
        ),
        max_size=12,
    ).map("".join)
)
@settings(deadline=None)
def test_nothing_that_a_peer_writes_raises_anything_else(field: str) -> None:
    """An offer gets an answer or none, an answer an agreement or a ValueError, whatever they are."""
    offered = accept_offer(field, LARGE)
    if offered is not None:
        assert isinstance(confirm_answer(offered[0], LARGE), Agreement) or "client_max_window_bits=8" in offered[0]
    try:
        confirm_answer(field, LARGE)
    except ValueError as exc:
        assert type(exc) is ValueError


# -- a second implementation -------------------------------------------------------------------------------------------

BITS = st.integers(9, 15)
OPTIONS = st.builds(PerMessageDeflate, window_bits=BITS, context_takeover=st.booleans(), min_bytes=st.just(0))
TEXTS = st.text(max_size=300) | st.sampled_from(["", "Hello", "Hello" * 500, "\u20ac" * 3000, "abc" * 30_000])
BINARIES = st.binary(max_size=300) | st.sampled_from([b"", b"\0" * 70_000, bytes(range(256)) * 40, b"Hello"])
MESSAGES = st.lists(TEXTS | BINARIES, min_size=1, max_size=5)
CUTS = st.lists(st.integers(1, 3000), max_size=4)


def pieces_of(message: str | bytes, sizes: Sequence[int]) -> Iterator[tuple[str | bytes, bool]]:
    """Yield a message in pieces, and whether each is the last."""
    start = 0
    for size in sizes:
        if start + size < len(message):
            yield message[start : start + size], False
            start += size
    yield message[start:], True


def receive(wire: WebSocketWire, data: bytes) -> list[str | bytes]:
    """Return the messages in some bytes, which must be whole."""
    messages: list[str | bytes] = []
    parts: list[str | bytes] = []
    wire.receive(data)
    while (event := wire.next_event()) is not None:
        assert isinstance(event, (TextMessage, BytesMessage)), event
        parts.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
        if event.message_finished:
            messages.append(type(parts[0])().join(parts))  # type: ignore[arg-type]  # all of one kind
            parts.clear()
    assert not parts
    return messages


def result_of(steps: Generator[None, None, Any]) -> Any:
    """Return what one of the peer's parsers comes to; it never has to wait."""
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("a frame is incomplete")


def peer_receive(data: bytes, *, masked: bool, extension: peer.PerMessageDeflate) -> list[str | bytes]:
    """Return the messages that ``websockets`` reads from some bytes."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    messages: list[str | bytes] = []
    parts: list[bytes] = []
    kind = Opcode.TEXT
    while not result_of(reader.at_eof()):
        frame = result_of(PeerFrame.parse(reader.read_exact, mask=masked, extensions=[extension]))
        kind = kind if frame.opcode is Opcode.CONT else frame.opcode
        parts.append(bytes(frame.data))
        if frame.fin:
            content = b"".join(parts)
            messages.append(content.decode() if kind is Opcode.TEXT else content)
            parts.clear()
    assert not parts
    return messages


def peer_send(message: str | bytes, sizes: Sequence[int], *, mask: bool, extension: peer.PerMessageDeflate) -> bytes:
    """Return a message as ``websockets`` sends it."""
    content = message.encode() if isinstance(message, str) else message
    opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
    data = b""
    for piece, last in pieces_of(content, sizes):
        assert isinstance(piece, bytes)
        data += PeerFrame(opcode, piece, last).serialize(mask=mask, extensions=[extension])
        opcode = Opcode.CONT
    return data


def send(wire: WebSocketWire, message: str | bytes, sizes: Sequence[int]) -> bytes:
    """Return a message as this wire sends it."""
    return b"".join(wire.send_message(piece, finished=last) for piece, last in pieces_of(message, sizes))


def exchange(
    wire: WebSocketWire, extension: peer.PerMessageDeflate, messages: list[str | bytes], sizes: Sequence[int]
) -> None:
    """See that every message arrives at the other end as it was sent, both ways."""
    client = wire.role is Role.CLIENT
    for message in messages:
        sent = send(wire, message, sizes)
        assert peer_receive(sent, masked=client, extension=extension) == [message]
        assert receive(wire, peer_send(message, sizes, mask=not client, extension=extension)) == [message]


@given(
    options=OPTIONS,
    takeovers=st.tuples(st.booleans(), st.booleans()),
    server_bits=st.none() | BITS,
    client_bits=st.none() | BITS,
    messages=MESSAGES,
    sizes=CUTS,
)
@settings(deadline=None)
def test_a_server_of_another_make_understands_this_client(
    options: PerMessageDeflate,
    takeovers: tuple[bool, bool],
    server_bits: int | None,
    client_bits: int | None,
    messages: list[str | bytes],
    sizes: list[int],
) -> None:
    """Whatever the server of ``websockets`` is set to, both come to the same agreement, and messages go both ways."""
    factory = peer.ServerPerMessageDeflateFactory(*takeovers, server_bits, client_bits)
    for name, parameters in parse_extension(make_offer(options)):
        try:
            answer, extension = factory.process_request_params(parameters, [])
            break
        except NegotiationError:
            assert name == NAME
    else:
        raise AssertionError("the plain offer can always be taken")
    agreement = confirm_answer(build_extension([(NAME, answer)]), options)
    assert agreement.server_window_bits == extension.local_max_window_bits <= (server_bits or 15)
    assert agreement.client_window_bits <= extension.remote_max_window_bits
    assert agreement.server_takeover is not extension.local_no_context_takeover
    assert agreement.client_takeover <= (not extension.remote_no_context_takeover)
    exchange(WebSocketWire(Role.CLIENT, WebSocketLimits(), agreement, options), extension, messages, sizes)


@given(
    options=OPTIONS,
    takeovers=st.tuples(st.booleans(), st.booleans()),
    server_bits=st.none() | BITS,
    client_bits=st.sampled_from([None, True]) | BITS,
    messages=MESSAGES,
    sizes=CUTS,
)
@settings(deadline=None)
def test_a_client_of_another_make_understands_this_server(
    options: PerMessageDeflate,
    takeovers: tuple[bool, bool],
    server_bits: int | None,
    client_bits: int | None,
    messages: list[str | bytes],
    sizes: list[int],
) -> None:
    """Whatever the client of ``websockets`` is set to, both come to the same agreement, and messages go both ways."""
    factory = peer.ClientPerMessageDeflateFactory(*takeovers, server_bits, client_bits)
    accepted = accept_offer(build_extension([(NAME, list(factory.get_request_params()))]), options)
    assert accepted is not None
    [(_, answer)] = parse_extension(accepted[0])
    extension = factory.process_response_params(answer, [])
    agreement = accepted[1]
    assert agreement.server_window_bits == extension.remote_max_window_bits
    assert agreement.client_window_bits == extension.local_max_window_bits
    assert agreement.server_takeover is not extension.remote_no_context_takeover
    assert agreement.client_takeover is not extension.local_no_context_takeover
    exchange(WebSocketWire(Role.SERVER, WebSocketLimits(), agreement, options), extension, messages, sizes)


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("bits", range(9, 16))
def test_a_window_is_never_larger_than_agreed(bits: int, takeover: bool) -> None:
    """What is compressed with a window can be read with that window, and what repeats within it is found."""
    agreement = Agreement(bits, bits, takeover, takeover)
    options = PerMessageDeflate(window_bits=bits, min_bytes=0, context_takeover=takeover)
    server = WebSocketWire(Role.SERVER, WebSocketLimits(), agreement, options)
    client = WebSocketWire(Role.CLIENT, WebSocketLimits(), agreement, options)
    block = bytes(number * number % 251 for number in range(200))
    noise = zlib.compress(bytes(number * 7919 % 256 for number in range(1 << bits)), 0)
    sizes = []
    for message in (block, block, noise, block):
        data = server.send_message(message)
        sizes.append(len(data))
        assert receive(client, data) == [message]
    first, again, _, late = sizes
    assert again < 20 if takeover else again == first
    assert late >= first - 8, "it has left the window"


# -- what a hostile peer sends -----------------------------------------------------------------------------------------


def frame(payload: bytes, *, kind: str = "binary", fin: bool = True) -> bytes:
    """Return a compressed frame of a server, or a continuation."""
    parts = {"hex": payload.hex()}
    return build({kind: parts, "fin": fin, "rsv": 0 if kind == "more" else 4}, masked=False)


def end_of(wire: WebSocketWire, data: bytes) -> Close | None:
    """Receive in reads of 64 KiB, keeping nothing, up to the end."""
    for start in range(0, len(data), 65_536):
        wire.receive(data[start : start + 65_536])
        while (event := wire.next_event()) is not None:
            if isinstance(event, Close):
                return event
    return None


@pytest.mark.parametrize("kind", ["text", "binary"])
@pytest.mark.parametrize("size", [MIB + 1, 40 * MIB, 100 * MIB])
def test_a_bomb_costs_twice_the_bound_at_most(size: int, kind: str) -> None:
    """Whatever a message would become, inflating stops behind ``max_message_bytes``: 1009."""
    compressor = zlib.compressobj(9, wbits=-15)
    part = compressor.compress(b"a" * MIB)
    content = part + b"".join(compressor.compress(b"a" * MIB) for _ in range(size // MIB - 1))
    content += compressor.compress(b"a" * (size % MIB)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    data = frame(content[:-4], kind=kind)
    wire = WebSocketWire(Role.CLIENT, WebSocketLimits(), Agreement())
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        end = end_of(wire, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert end is not None
    assert (end.code, end.breach) == (1009, True)
    assert peak - before <= 2 * MIB + 4 * 65_536  # and what was read at once


def test_a_bomb_in_fragments_is_counted_as_one() -> None:
    """Fragments that each stay below the bound pass it together."""
    compressor = zlib.compressobj(9, wbits=-15)
    pieces = [compressor.compress(bytes(MIB // 2)) + compressor.flush(zlib.Z_SYNC_FLUSH) for _ in range(4)]
    wire = WebSocketWire(Role.CLIENT, WebSocketLimits(), Agreement())
    ends = [end_of(wire, frame(piece, kind="more" if n else "binary", fin=False)) for n, piece in enumerate(pieces)]
    assert [end and end.code for end in ends] == [None, None, 1009, None]


@pytest.mark.parametrize("level", range(1, 10))
@pytest.mark.parametrize("memory", [1, 5, 9])
def test_a_message_that_does_not_compress_may_be_as_large_as_any(level: int, memory: int) -> None:
    """Deflate makes it longer than the bound; it is what it says that counts."""
    compressor = zlib.compressobj(level, wbits=-9, memLevel=memory)
    content = b"".join((n * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") for n in range(MIB // 8))
    noise = zlib.compress(content, 9)
    noise = (noise * (MIB // len(noise) + 1))[:MIB]
    payload = (compressor.compress(noise) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    wire = WebSocketWire(Role.CLIENT, WebSocketLimits(), Agreement())
    assert receive(wire, frame(payload)) == [noise]


def test_final_blocks_are_bounded() -> None:
    """Each costs a new inflater, so a message has 1024 at most."""
    wire = WebSocketWire(Role.CLIENT, WebSocketLimits(), Agreement())
    assert receive(wire, frame(b"\x03\x00" * MAX_FINAL_BLOCKS)) == [b""]
    assert receive(wire, frame(b"\x03\x00" * MAX_FINAL_BLOCKS)) == [b""]
    end = end_of(wire, frame(b"\x03\x00" * (MAX_FINAL_BLOCKS + 1)))
    assert end is not None
    assert (end.code, end.breach) == (1007, True)


def test_inflating_is_linear() -> None:
    """Twice the blocks are twice the time, whatever is in them; the quotient of two times leaves room for noise."""

    def seconds(count: int, block: bytes) -> float:
        best = 9.0
        for _ in range(5):
            inflater = Inflater(15, takeover=True)
            began = time.process_time()
            inflater.inflate(block * count, MIB)
            best = min(best, time.process_time() - began)
        return best

    for block in (b"\x00\x00\x00\xff\xff", b"\x00\x01\x00\xfe\xffa"):
        assert seconds(80_000, block) < 6 * seconds(40_000, block) + 0.01


def test_an_idle_connection_keeps_no_window() -> None:
    """Without takeover there is nothing between two messages; with it, what the windows take."""
    kept = {}
    for takeover in (False, True):
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            deflater, inflater = Deflater(12, takeover=takeover), Inflater(12, takeover=takeover)
            for _ in range(3):
                inflater.inflate(deflater.deflate(b"Hello" * 1000, finished=True), None)
                inflater.finish(None)
            kept[takeover] = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    assert kept[False] < 2000
    assert 10_000 < kept[True] < 65_536


@given(data=st.binary(max_size=200), takeover=st.booleans())
@settings(deadline=None)
def test_any_bytes_are_a_message_or_1007(data: bytes, takeover: bool) -> None:
    """Nothing that is sent as deflated data raises, or becomes more than is allowed."""
    agreement = Agreement(15, 15, takeover, takeover)
    wire = WebSocketWire(Role.CLIENT, WebSocketLimits(max_message_bytes=1000), agreement)
    end = end_of(wire, frame(data) + frame(data))
    assert end is None or end.code in (1007, 1009)
