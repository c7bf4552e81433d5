"""What one message says, whichever end says it and whichever wire carries it (RFC 9110 §6).

Rule 1: heads carry meaning only: framing (lengths, chunks), hop-by-hop fields and reason phrases belong to the wire.
Rule 2: they are plain slotted data; the server's and the client's richer types hold one each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .headers import Headers

__all__ = ["Address", "ConnectionInfo", "RequestHead", "ResponseHead", "TLSInfo"]

Address: TypeAlias = tuple[str, int] | str | None
"""Where an end of a connection is: (host, port), the path of a Unix socket, or None when nobody knows."""


@dataclass(slots=True, eq=False)
class RequestHead:
    """The head of a request: method, what it is for, and the header fields.

    ``target`` is the request target as the wire had it, without what ``authority`` holds: a path with its query
    (``/a?b=1``), ``*``, or for CONNECT the authority itself. It is ASCII and holds no fragment.
    """

    method: str
    target: str
    headers: Headers
    scheme: str = "http"
    authority: str = ""
    version: str = "1.1"


@dataclass(slots=True, eq=False)
class ResponseHead:
    """The head of a response: interim when ``status`` is below 200 (RFC 9110 §15)."""

    status: int
    headers: Headers
    version: str = "1.1"


@dataclass(slots=True, frozen=True)
class TLSInfo:
    """The facts of a connection's TLS session."""

    version: str | None
    cipher: str | None
    alpn: str | None = None
    server_name: str | None = None
    peer_certificate: bytes | None = None
    """The peer's certificate in DER, None when it sent none."""


@dataclass(slots=True)
class ConnectionInfo:
    """The facts of a connection that do not change while it lives."""

    number: int = 0
    peer: Address = None
    local: Address = None
    tls: TLSInfo | None = None
