"""What a server says through ``logging``: one record for each reject, one for each answer, one for each fault.

Loggers: ``triohttp.reject`` (requests refused before any handler, or for their content), ``triohttp.access`` (one
``AccessRecord`` an answer), ``triohttp.server`` (faults, listeners, shutdown).

Rule 1: what a peer sent is escaped and cut before it is logged; a record is one line.
Rule 2: no record is built unless somebody listens.
Rule 3: rejects are limited to ten a second for each slug; what was left out is counted in the next one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from triohttp._values.message import Address, ConnectionInfo
from triohttp.errors import (
    BodyTooLargeError,
    BodyTruncatedError,
    ReadTimeout,
    RemoteProtocolError,
    TrioHTTPError,
)

__all__ = ["AccessRecord", "RejectLog", "Seldom", "access_log", "as_reject", "reject_log", "server_log"]

access_log = logging.getLogger("triohttp.access")
reject_log = logging.getLogger("triohttp.reject")
server_log = logging.getLogger("triohttp.server")

QUIET = frozenset({"tls-on-http", "request-line"})  # port scanners' daily noise
PER_SECOND = 10
SELDOM_SECONDS = 5.0
FIELD_CHARACTERS = 512


def escape(data: bytes | str, length: int) -> str:
    r"""Return text with everything outside printable ASCII as ``\xNN``, cut to ``length`` characters."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    text = "".join(chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x5C else f"\\x{byte:02x}" for byte in raw[:length])
    return text[:length]


def show(peer: Address) -> str:
    """Return an address as text."""
    if peer is None:
        return "-"
    if isinstance(peer, str):
        return escape(peer, 120)
    host, port = peer
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(slots=True, frozen=True)
class AccessRecord:
    """One answer, as the access log has it (the first argument of the log record)."""

    peer: Address
    connection: int
    request: int
    method: str
    target: str
    version: str
    status: int
    """0 when no head went out."""
    sent_bytes: int
    received_bytes: int
    seconds: float
    """From the end of the request's head to the end of the answer."""
    outcome: str
    """``complete``, ``cut``, ``taken over``, ``rejected`` or the reason of a cancellation."""

    def __str__(self) -> str:
        method, target = escape(self.method, 32), escape(self.target, FIELD_CHARACTERS)
        return (
            f'{show(self.peer)} "{method} {target} HTTP/{self.version}" {self.status} {self.sent_bytes} '
            f"{self.seconds * 1000:.1f}ms {self.outcome}"
        )


def as_reject(error: TrioHTTPError, received: int) -> RemoteProtocolError | None:
    """Return what the reject log says of an error that ended a request's content after ``received`` bytes.

    None means nothing: a peer that is gone is no reject.
    """
    if isinstance(error, RemoteProtocolError):
        return error
    if isinstance(error, BodyTruncatedError):
        slug, detail = "body-truncated", f"want={'-' if error.expected is None else error.expected}"
    elif isinstance(error, BodyTooLargeError):
        slug, detail = "body-too-large", f"bound={error.bound}"
    elif isinstance(error, ReadTimeout):
        slug, detail = ("body-slow", "") if error.seconds is None else ("body-idle", "")
    else:
        return None
    return RemoteProtocolError(str(error), slug=slug, at="content", received=received, detail=detail.encode("ascii"))


class Seldom:
    """Tells when something that may go on for long should be said again: at most every five seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said_at = -math.inf

    def is_due(self) -> bool:
        """True when it is time to say it; it then counts as said."""
        now = self._clock()
        if now - self._said_at < SELDOM_SECONDS:
            return False
        self._said_at = now
        return True


class RejectLog:
    """Writes reject records, ten a second for each slug."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, int, int]] = {}  # slug -> second, written in it, suppressed since

    def write(self, error: RemoteProtocolError, status: int | None, info: ConnectionInfo, request_number: int) -> None:
        """Write one record, or count it."""
        level = logging.DEBUG if error.slug in QUIET or status is None else logging.INFO
        if not reject_log.isEnabledFor(level):
            return
        second = int(self._clock())
        then, written, suppressed = self._seen.get(error.slug, (second, 0, 0))
        if then != second:
            written = 0
        if written >= PER_SECOND:
            self._seen[error.slug] = (second, written, suppressed + 1)
            return
        self._seen[error.slug] = (second, written + 1, 0)
        reject_log.log(
            level,
            'reject slug=%s status=%s peer=%s conn=%d req=%d at=%s bytes=%d detail="%s"%s',
            error.slug,
            status if status is not None else "-",
            show(info.peer),
            info.number,
            request_number,
            error.at,
            error.received,
            escape(error.detail, 80),
            f" suppressed={suppressed}" if suppressed else "",
        )
