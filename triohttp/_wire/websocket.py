"""The WebSocket wire: frames to pieces of messages and back, for both ends (RFC 6455 §5).

Frames are wsproto's, but for small messages in one of them (``websocket_small``); what it lets pass is stopped in an
extension of ours, which sees each frame's header before any of its content is taken.

Rule 1: a bound is looked at when a header is read: nothing is buffered that will be refused.
Rule 2: events come out one at a time, as they are asked for: what came before a broken frame is delivered, and can be
        answered, before the breach is known.
Rule 3: inflated bytes count, not those on the wire.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from wsproto.connection import CLIENT, SERVER, ConnectionState
from wsproto.connection import Connection as Frames
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.events import Event as WsprotoEvent
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from triohttp._values.limits import WebSocketLimits

from .events import Role
from .websocket_deflate import Agreement, Deflater, Inflater, PerMessageDeflate
from .websocket_small import SMALL_BYTES, read_small, write_small

__all__ = [
    "FRAGMENT_BYTES",
    "NO_CODE",
    "BytesMessage",
    "Close",
    "Ping",
    "Pong",
    "Role",
    "TextMessage",
    "WebSocketEvent",
    "WebSocketWire",
    "check_close",
]

FRAGMENT_BYTES: Final = 64 * 1024
"""Messages above this go out in pieces, so that a ping need not wait for all of a large one."""
NO_CODE: Final = 1005
"""A close frame without a code (RFC 6455 §7.4.1); never on the wire."""
_MAX_REASON_BYTES: Final = 123
_NO_BITS: Final = RsvBits(False, False, False)
_COMPRESSED: Final = RsvBits(True, False, False)
_NORMAL: Final = (1000).to_bytes(2, "big")
_BAD_GATEWAY: Final = (1014).to_bytes(2, "big")


@dataclass(slots=True)
class Close:
    """The end: the peer's close frame, or its breach of the protocol or of a bound, to be closed with ``code``."""

    code: int
    reason: str
    breach: bool = False


WebSocketEvent: TypeAlias = TextMessage | BytesMessage | Ping | Pong | Close


def check_close(code: int, reason: str) -> None:
    """Refuse what must not be in a close frame.

    Raises:
        ValueError: the code is not one that may be sent, or the reason is too long.
    Source: RFC 6455 §5.5, §7.4.
    """
    if not (code in _SENDABLE or 3000 <= code <= 4999):
        raise ValueError(f"a close code must be 1000-1003, 1007-1014 or 3000-4999, not {code!r}")
    if len(reason.encode()) > _MAX_REASON_BYTES:
        raise ValueError(f"the reason of a close is at most {_MAX_REASON_BYTES} bytes of UTF-8")


_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


class WebSocketWire:
    """One end's frames after the handshake.

    Args:
        role: frames of a client are masked, those of a server are not.
        limits: what the peer may send.
        agreement: what both ends agreed on about compression; None for none.
        compression: how this end compresses; it decides about small messages only.
    """

    __slots__ = (
        "_ended",
        "_events",
        "_frames",
        "_guard",
        "_masks",
        "_pieces",
        "_reads_small",
        "_small",
        "closing",
        "role",
    )

    def __init__(
        self,
        role: Role,
        limits: WebSocketLimits,
        agreement: Agreement | None = None,
        compression: PerMessageDeflate | None = None,
    ) -> None:
        self.role = role
        self.closing = False
        """A close frame of this end has been made; nothing may follow it."""
        self._guard = _Guard(role, limits, agreement, compression)
        self._frames = Frames(CLIENT if role is Role.CLIENT else SERVER, [self._guard])
        self._events: Iterator[WsprotoEvent] = self._frames.events()
        self._ended = False
        self._masks = role is Role.CLIENT
        self._reads_small = limits.max_message_bytes is None or limits.max_message_bytes >= SMALL_BYTES
        self._small: TextMessage | BytesMessage | None = None  # what came in by itself
        self._pieces = False  # a message is being sent in pieces

    @property
    def compressed(self) -> bool:
        """Whether compression was agreed on."""
        return self._guard.inflater is not None

    # -- receiving -----------------------------------------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """Bytes that have come in and belong to no whole frame yet; without any there is no event."""
        return self._guard.unread if self._small is None else 1

    def receive(self, data: bytes) -> None:
        """Take bytes of the peer; what comes after its end is thrown away."""
        if self._ended:
            return
        if self._reads_small and self._small is None and self._guard.idle:
            self._small = read_small(data, masked=not self._masks)
            if self._small is not None:
                return
        self._guard.unread += len(data)
        self._frames.receive_data(data)

    def next_event(self) -> WebSocketEvent | None:
        """Return the next event, None when more bytes are needed; nothing comes after a ``Close``."""
        if self._small is not None:
            small, self._small = self._small, None
            return small
        if not self._guard.unread:  # wsproto takes 5 µs to find out
            return None
        event = next(self._events, None)
        if event is None:
            self._events = self._frames.events()  # for when more has come
        if event.__class__ is CloseConnection:
            return self._close_of(event)
        return event  # type: ignore[return-value]  # wsproto's other events belong to its own handshake

    def _close_of(self, event: CloseConnection) -> Close:
        self._ended = True
        if self._frames.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            return Close(self._guard.close_code or int(event.code), event.reason or "")
        reason = "a message is not UTF-8" if event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA else event.reason
        return Close(int(event.code), self._guard.breach or reason or "", breach=True)

    # -- sending -------------------------------------------------------------------------------------------------------

    def send_message(self, data: str | bytes, *, finished: bool = True) -> bytes:
        """Return a frame with a message, or a piece of one.

        Raises:
            UnicodeEncodeError: the text holds half of a surrogate pair.
        """
        if finished and not self._pieces:
            content = data if isinstance(data, bytes) else data.encode()
            if len(content) < self._guard.plain_bytes and (not self._masks or len(content) <= SMALL_BYTES):
                return write_small(content, text=data is not content, masked=self._masks)
        self._pieces = not finished
        if data.__class__ is str:
            return self._frames.send(TextMessage(data, message_finished=finished))
        return self._frames.send(BytesMessage(data, message_finished=finished))  # type: ignore[arg-type]  # by class

    def send_ping(self, payload: bytes) -> bytes:
        """Return a ping; at most 125 bytes of payload."""
        return self._frames.send(Ping(payload))

    def send_pong(self, payload: bytes) -> bytes:
        """Return a pong."""
        return self._frames.send(Pong(payload))

    def send_close(self, code: int, reason: str = "") -> bytes:
        """Return a close frame; ``NO_CODE`` makes it empty."""
        self.closing = True
        if code == NO_CODE:
            return self._frames.send(CloseConnection(CloseReason.NO_STATUS_RCVD))
        return self._frames.send(CloseConnection(code, reason))


class _Guard(Extension):
    """What stands between wsproto's frames and their content: bounds, the order of fragments, compression."""

    name = "triohttp"

    def __init__(
        self,
        role: Role,
        limits: WebSocketLimits,
        agreement: Agreement | None,
        compression: PerMessageDeflate | None,
    ) -> None:
        self.unread = 0
        """Bytes that have come in and belong to no whole frame yet."""
        self._frame_bytes = 0
        self._mask_bytes = 4 if role is Role.SERVER else 0
        self.breach = ""
        self.close_code = 0
        """The code of the peer's close frame, where wsproto has not heard of it."""
        self.inflater: Inflater | None = None
        self._deflater: Deflater | None = None
        if agreement is not None:
            server = Deflater(agreement.server_window_bits, takeover=agreement.server_takeover)
            client = Deflater(agreement.client_window_bits, takeover=agreement.client_takeover)
            from_server = Inflater(agreement.server_window_bits, takeover=agreement.server_takeover)
            from_client = Inflater(agreement.client_window_bits, takeover=agreement.client_takeover)
            self._deflater, self.inflater = (client, from_server) if role is Role.CLIENT else (server, from_client)
        self._min_bytes = compression.min_bytes if compression is not None else 0
        self.plain_bytes = FRAGMENT_BYTES if self._deflater is None else min(self._min_bytes, FRAGMENT_BYTES)
        """Messages below this are not compressed."""
        self._max_bytes = limits.max_message_bytes
        self._max_fragments = limits.max_fragments
        # the frame that comes in
        self._bits: RsvBits | None = None
        self._opcode = 0
        # the message that comes in
        self._open = False
        self._text = False
        self._last = b""
        self._inflating = False
        self._fragments = 0
        self._size = 0
        self._wire_size = 0
        # the message that goes out
        self._deflating = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        return False

    # -- coming in -----------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no frame and no message has begun to come in."""
        return not self.unread and not self._open

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        if self._bits is not None:  # asked again, because the mask had not come in yet
            return self._bits
        self._opcode = opcode
        head = 2 if payload_length < 126 else 4 if payload_length < 65_536 else 10
        self._frame_bytes = head + self._mask_bytes + payload_length
        if opcode >= 8:
            self._bits = _NO_BITS
            return _NO_BITS
        if opcode:
            if self._open:
                return self._refuse(CloseReason.PROTOCOL_ERROR, "a message began inside of another one")
            self._open = True
            self._text = opcode == Opcode.TEXT
            self._last = b""
            self._inflating = rsv.rsv1 and self.inflater is not None
            self._fragments = self._size = self._wire_size = 0
        elif not self._open:
            return self._refuse(CloseReason.PROTOCOL_ERROR, "a message was continued that had not begun")
        self._fragments += 1
        if self._fragments > self._max_fragments:
            return self._refuse(CloseReason.POLICY_VIOLATION, f"a message passes max_fragments={self._max_fragments}")
        bound = self._max_bytes
        if bound is not None:
            self._wire_size += payload_length
            if self._inflating:  # data that does not compress becomes longer, and so does a piece that is flushed
                bound += bound // 16 + 64 * self._fragments
            if self._wire_size > bound:
                return self._too_big()
        self._bits = _COMPRESSED if opcode and self._inflating else _NO_BITS
        return self._bits

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        if self._opcode >= 8:
            return data if self._opcode != Opcode.CLOSE else self._close_content(data)
        if not self._inflating:
            return data if not self._text else self._looked_at(data)
        assert self.inflater is not None
        try:
            return self._counted(self.inflater.inflate(data, self._allowed()))
        except zlib.error:
            return self._refuse(CloseReason.INVALID_FRAME_PAYLOAD_DATA, "a message is not deflated data")

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        self._bits = None
        self.unread -= self._frame_bytes
        if self._opcode >= 8 or not fin:
            return None
        self._open = False
        if not self._inflating:
            return None
        assert self.inflater is not None
        try:
            return self._counted(self.inflater.finish(self._allowed()))
        except zlib.error:
            return self._refuse(CloseReason.INVALID_FRAME_PAYLOAD_DATA, "a message is not deflated data")

    def _close_content(self, data: bytes) -> bytes:
        if data[:2] != _BAD_GATEWAY:
            return data
        self.close_code = 1014  # registered since; wsproto takes it for a reserved one
        return _NORMAL + data[2:]

    def _looked_at(self, text: bytes) -> bytes | CloseReason:
        """Refuse a surrogate at its second octet, for which Python's decoder awaits the third."""
        if text:
            if text[-1] >= 0xA0 and (self._last + text[-2:])[-2:-1] == b"\xed":
                return self._refuse(CloseReason.INVALID_FRAME_PAYLOAD_DATA, "a message is not UTF-8")
            self._last = text[-1:]
        return text

    def _allowed(self) -> int | None:
        return None if self._max_bytes is None else self._max_bytes - self._size

    def _counted(self, inflated: bytes | None) -> bytes | CloseReason:
        if inflated is None:
            return self._too_big()
        self._size += len(inflated)
        return inflated if not self._text else self._looked_at(inflated)

    def _too_big(self) -> CloseReason:
        return self._refuse(CloseReason.MESSAGE_TOO_BIG, f"a message passes max_message_bytes={self._max_bytes}")

    def _refuse(self, code: CloseReason, why: str) -> CloseReason:
        self.breach = why
        return code

    # -- going out -----------------------------------------------------------------------------------------------------

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        if self._deflater is None or opcode >= 8:
            return rsv, data
        if opcode:
            self._deflating = not fin or len(data) >= self._min_bytes
        if not self._deflating:
            return rsv, data
        return _COMPRESSED if opcode else rsv, self._deflater.deflate(data, finished=fin)
