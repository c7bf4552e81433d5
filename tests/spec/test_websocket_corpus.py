"""Every case of the corpus of frames ends as it says, however its bytes are cut into reads, for both roles."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websocket_corpus import Case, cuts, files, load

from triohttp import WebSocketLimits
from triohttp._wire.websocket import BytesMessage, Close, Ping, Pong, Role, TextMessage, WebSocketWire
from triohttp._wire.websocket_deflate import Agreement

ROLES = {"server": Role.SERVER, "client": Role.CLIENT}


@dataclass
class Outcome:
    """What became of an input; two of them are compared whole."""

    events: list[tuple[str, bytes]] = field(default_factory=list)
    then: str = "open"
    code: int | None = None
    reason: str | None = None
    taken: int | None = field(default=None, compare=False)
    """How many bytes had been taken when the end was known."""


def make_wire(role: str, case: Case) -> WebSocketWire:
    agreement = None
    if case.deflate is not None:
        bits, takeover = case.deflate["window_bits"], case.deflate["takeover"]
        agreement = Agreement(bits, bits, takeover, takeover)
    return WebSocketWire(ROLES[role], case.limits, agreement)


def receive(wire: WebSocketWire, pieces: Iterable[bytes]) -> Outcome:
    """Be one end, and answer nothing."""
    outcome = Outcome()
    kind, content, taken = "", bytearray(), 0
    for piece in pieces:
        wire.receive(piece)
        taken += len(piece)
        while (event := wire.next_event()) is not None:
            assert outcome.code is None, "nothing comes after the end"
            if isinstance(event, (TextMessage, BytesMessage)):
                kind = "text" if isinstance(event, TextMessage) else "binary"
                content += event.data.encode() if isinstance(event, TextMessage) else event.data
                if event.message_finished:
                    outcome.events.append((kind, bytes(content)))
                    content.clear()
            elif isinstance(event, Close):
                outcome.then = "failed" if event.breach else "closed"
                outcome.code, outcome.taken = event.code, taken
                outcome.reason = None if event.breach else event.reason
                assert event.reason or not event.breach, "a breach is named"
            else:
                assert isinstance(event, (Ping, Pong))
                outcome.events.append(("ping" if isinstance(event, Ping) else "pong", bytes(event.payload)))
    return outcome


@pytest.mark.corpus
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_frames_end_as_the_corpus_says(path: Path, role: str) -> None:
    """Messages are delivered whole and in order, pings and pongs between them, and the end is known for what it is."""
    for case in load(path):
        if role not in case.roles:
            continue
        data = case.input(role)
        expected = Outcome(case.events, case.then.replace("cut", "open"), case.code, case.reason)
        for way, pieces in cuts(data):
            outcome = receive(make_wire(role, case), pieces)
            assert outcome == expected, (case.name, way)
            if way == "byte by byte" and case.unneeded is not None:
                assert outcome.taken is not None and outcome.taken <= len(data) - case.unneeded, case.name


@pytest.mark.parametrize("role", ROLES)
def test_every_close_code_is_known_for_what_it_is(role: str) -> None:
    """Those that RFC 6455 and its registry let an end send are taken, and no other numbers."""
    valid = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    mask = bytes(4) if role == "server" else b""
    for code in [*range(6000), *range(6000, 65536, 97), 65535]:
        wire = WebSocketWire(ROLES[role], WebSocketLimits())
        wire.receive(bytes([0x88, 0x82 if mask else 0x02]) + mask + struct.pack("!H", code))
        event = wire.next_event()
        assert isinstance(event, Close)
        assert (event.code, event.breach) == ((code, False) if code in valid else (1002, True))


CASES = [case for path in files() for case in load(path) if len(case.input("client")) < 500]


@given(st.data())
@settings(deadline=None)
def test_whatever_comes_is_an_event_or_the_end(data: st.DataObject) -> None:
    """Frames of the corpus with octets changed, lost or added raise nothing, and end the same at any cut."""
    case = data.draw(st.sampled_from(CASES))
    role = data.draw(st.sampled_from(list(ROLES)))
    octets = bytearray(case.input(role))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(octets)))
        octets[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    size = data.draw(st.integers(1, 20))
    whole = receive(make_wire(role, case), [bytes(octets)])
    assert receive(make_wire(role, case), [bytes(octets[i : i + size]) for i in range(0, len(octets), size)]) == whole
