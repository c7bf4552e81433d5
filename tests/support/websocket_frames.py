"""Frames by hand, and a peer that sends and reads them: written from RFC 6455 §5.2, without the code under test."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from triohttp import WebSocket
from triohttp.lowlevel import Role
from triohttp.testing import MemoryStream, memory_stream_pair

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"


def frame(opcode: int, payload: bytes | str = b"", *, fin: bool = True, mask: bool = False, rsv: int = 0) -> bytes:
    """Return one frame."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if len(data) < 126:
        length = bytes([bit | len(data)])
    elif len(data) < 65_536:
        length = bytes([bit | 126]) + struct.pack("!H", len(data))
    else:
        length = bytes([bit | 127]) + struct.pack("!Q", len(data))
    if not mask:
        return first + length + data
    return first + length + MASK + bytes(octet ^ MASK[place % 4] for place, octet in enumerate(data))


def close(code: int, reason: str = "", *, mask: bool = False) -> bytes:
    """Return a close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode(), mask=mask)


class FramePeer:
    """The other end of a WebSocket, in frames."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.sent = 0
        self._buffer = b""

    @classmethod
    @asynccontextmanager
    async def of(
        cls, role: Role, *, max_buffer_bytes: int = 65_536, **options: Any
    ) -> AsyncIterator[tuple[WebSocket, FramePeer]]:
        """A WebSocket in a role, and the peer of it; the peer is closed first, as one that leaves would be."""
        ours, theirs = memory_stream_pair(max_buffer_bytes)
        async with WebSocket(ours, role, **options) as websocket:
            try:
                yield websocket, cls(theirs)
            finally:
                theirs.abort()

    async def send(self, data: bytes) -> None:
        """Send frames."""
        self.sent += len(data)
        await self.stream.send_all(data)

    async def receive(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame; (-1, b"") at the end of the stream."""
        if not await self._have(2):
            return -1, b""
        opcode = self._buffer[0] & 15
        masked, length, start = self._buffer[1] & 0x80, self._buffer[1] & 0x7F, 2
        if length == 126:
            await self._have(4)
            length, start = struct.unpack_from("!H", self._buffer, 2)[0], 4
        elif length == 127:
            await self._have(10)
            length, start = struct.unpack_from("!Q", self._buffer, 2)[0], 10
        mask = b""
        if masked:
            await self._have(start + 4)
            mask = self._buffer[start : start + 4]
            start += 4
        await self._have(start + length)
        payload = self._buffer[start : start + length]
        self._buffer = self._buffer[start + length :]
        if mask:
            payload = bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))
        return opcode, payload

    async def receive_close(self) -> int | None:
        """Return the code of the next close frame, None for none in it or for the end of the stream."""
        while True:
            opcode, payload = await self.receive()
            if opcode == -1:
                return None
            if opcode == CLOSE:
                return struct.unpack_from("!H", payload)[0] if payload else 1005

    def reset(self) -> None:
        """Break the connection."""
        self.stream.abort()

    async def _have(self, count: int) -> bool:
        while len(self._buffer) < count:
            data = await self.stream.receive_some()
            if not data:
                return False
            self._buffer += data
        return True
