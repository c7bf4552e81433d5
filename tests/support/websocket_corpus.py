"""The corpus of frames: its cases as bytes, for either role, and what comes back as frames.

Written from RFC 6455 §5.2 and RFC 7692 §7, without the code under test. What a case may say is in tests/spec/README.md.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triohttp import WebSocketLimits

FOLDER = Path(__file__).parents[1] / "spec" / "websocket"
OPCODES = {"more": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
MASK = b"\x37\xfa\x21\x3d"
MAX_EMPTY = b"\x00\x00\xff\xff"


def expand(parts: Any) -> bytes:
    """Return the bytes of a text of the corpus, which may be a list of texts."""
    if isinstance(parts, list):
        return b"".join(map(expand, parts))
    if isinstance(parts, str):
        return parts.encode("latin-1")
    if "hex" in parts:
        return bytes.fromhex(parts["hex"])
    if "utf8" in parts:
        return parts["utf8"].encode()  # type: ignore[no-any-return]
    return parts["repeat"].encode("latin-1") * parts["times"]  # type: ignore[no-any-return]


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """Return the payload masked, or unmasked (RFC 6455 §5.3)."""
    if not data:
        return b""
    keys = int.from_bytes((mask * (len(data) // 4 + 1))[: len(data)], "big")
    return (int.from_bytes(data, "big") ^ keys).to_bytes(len(data), "big")


def build(spec: dict[str, Any], *, masked: bool) -> bytes:
    """Return the bytes of an entry of ``frames``."""
    if "frames" in spec:
        return b"".join(build(one, masked=masked) for one in spec["frames"]) * spec["times"]
    if "bytes" in spec:
        return expand(spec["bytes"])
    kind = next(iter(spec))
    if kind == "opcode":
        opcode, payload = spec["opcode"], expand(spec["data"])
    elif kind == "close":
        opcode = 8
        payload = b"" if spec["close"] is None else struct.pack("!H", spec["close"]) + expand(spec.get("reason", ""))
    else:
        opcode, payload = OPCODES[kind], expand(spec[kind])
    length = spec.get("length", len(payload))
    size = spec.get("length_bytes", 0 if length < 126 else 2 if length < 65536 else 8)
    masked = spec.get("masked", masked)
    head = bytes([spec.get("fin", True) << 7 | spec.get("rsv", 0) << 4 | opcode])
    head += bytes([masked << 7 | {0: length, 2: 126, 8: 127}[size]])
    head += length.to_bytes(size, "big") if size else b""
    return head + (MASK + apply_mask(payload, MASK) if masked else payload)


@dataclass
class Case:
    """One case of the corpus."""

    name: str
    frames: list[dict[str, Any]]
    events: list[tuple[str, bytes]]
    """What the receiver makes of it: whole messages, pings and pongs, in order."""
    then: str
    code: int | None
    reason: str | None
    unneeded: int | None
    limits: WebSocketLimits
    deflate: dict[str, Any] | None
    roles: list[str]

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Case:
        events = [(kind, expand(data)) for event in entry["events"] for kind, data in event.items()]
        closed = entry["then"] == "closed"
        return cls(
            name=entry["name"],
            frames=entry["frames"],
            events=events,
            then=entry["then"],
            code=entry.get("code"),
            reason=entry.get("reason", "" if closed else None),
            unneeded=entry.get("unneeded"),
            limits=WebSocketLimits(**entry.get("limits", {})),
            deflate=entry.get("deflate"),
            roles=entry.get("roles", ["server", "client"]),
        )

    def input(self, role: str) -> bytes:
        """Return what the peer of a role sends."""
        return b"".join(build(spec, masked=role == "server") for spec in self.frames)

    @property
    def messages(self) -> list[str | bytes]:
        """The messages that are delivered."""
        return [data.decode() if kind == "text" else data for kind, data in self.events if kind in ("text", "binary")]

    @property
    def pings(self) -> list[bytes]:
        """The payloads of the pings that are understood."""
        return [data for kind, data in self.events if kind == "ping"]


def load(path: Path) -> list[Case]:
    """Return the cases of a file."""
    return [Case.of(entry) for entry in json.loads(path.read_text("ascii"))]


def files() -> list[Path]:
    """Return the files of the corpus."""
    return sorted(FOLDER.glob("*.json"))


def cuts(data: bytes, long_bytes: int = 300) -> Iterator[tuple[str, list[bytes]]]:
    """Yield ways for an input to arrive, each with its name: whole, and byte by byte and in two where it is short."""
    yield "whole", [data]
    if len(data) <= long_bytes:
        yield "byte by byte", [data[i : i + 1] for i in range(len(data))]
        for place in range(1, len(data)):
            yield f"cut at {place}", [data[:place], data[place:]]
    else:
        for size in (1021, 65536):
            yield f"{size} at a time", [data[i : i + size] for i in range(0, len(data), size)]


class Reader:
    """Makes messages and control frames of what one end has sent; anything that must not be sent is an AssertionError.

    Args:
        masked: whether the frames must be masked.
        deflate: the window bits and the takeover of that direction, None for no compression.
    """

    def __init__(self, *, masked: bool, deflate: dict[str, Any] | None = None) -> None:
        self._masked = masked
        self._deflate = deflate
        self._inflater = None if deflate is None else zlib.decompressobj(wbits=-deflate["window_bits"])
        self._buffer = bytearray()
        self._message: tuple[str, bool, bytearray] | None = None
        self.frames = 0
        self.compressed = 0

    @property
    def unread(self) -> bytes:
        """The bytes of a frame that has not come in full."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield what is complete with these bytes: ``text``, ``binary``, ``close``, ``ping``, ``pong``."""
        self._buffer += data
        while (frame := self._next_frame()) is not None:
            self.frames += 1
            if (event := self._take(*frame)) is not None:
                yield event

    def _next_frame(self) -> tuple[int, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length = buffer[1] & 0x7F
        size = {126: 2, 127: 8}.get(length, 0)
        start = 2 + size + (4 if self._masked else 0)
        if len(buffer) < start:
            return None
        assert bool(buffer[1] & 0x80) is self._masked
        if size:
            length = int.from_bytes(buffer[2 : 2 + size], "big")
            assert length > (125 if size == 2 else 65535)
        if len(buffer) < start + length:
            return None
        payload = bytes(buffer[start : start + length])
        if self._masked:
            payload = apply_mask(payload, bytes(buffer[start - 4 : start]))
        first = buffer[0]
        del buffer[: start + length]
        return first >> 4, first & 15, payload

    def _take(self, bits: int, opcode: int, payload: bytes) -> tuple[str, bytes] | None:
        final, rsv = bits >> 3, bits & 7
        kind = {number: name for name, number in OPCODES.items()}[opcode]
        if opcode >= 8:
            assert final and not rsv and len(payload) <= 125
            return kind, payload
        if opcode:
            assert self._message is None and rsv in (0, 4)
            assert not rsv or self._deflate is not None
            self.compressed += rsv == 4
            self._message = kind, rsv == 4, bytearray(payload)
        else:
            assert self._message is not None and not rsv
            self._message[2].extend(payload)
        if not final:
            return None
        assert self._message is not None
        (kind, compressed, content), self._message = self._message, None
        return kind, self._inflate(bytes(content)) if compressed else bytes(content)

    def _inflate(self, content: bytes) -> bytes:
        assert self._deflate is not None and self._inflater is not None
        data = self._inflater.decompress(content + MAX_EMPTY)
        assert not self._inflater.unused_data
        if not self._deflate["takeover"]:
            self._inflater = zlib.decompressobj(wbits=-self._deflate["window_bits"])
        return data
