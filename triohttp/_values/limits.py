"""Every bound of the stack, in one place: how much and how long, with units and defaults.

Rule 1: a bound's name ends in its unit; None (counts and bytes) or ``math.inf`` (seconds) lifts it.
Rule 2: sizes and counts live in ``Limits``/``ClientLimits``; durations in ``Timeouts``/``ClientTimeouts``.
Rule 3: values are checked when they are made, so that nothing downstream checks again.
Rule 4: there is no total time by default on either end: minimum rates bound transfers, phases bound waits.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypedDict

__all__ = [
    "ClientLimits",
    "ClientTimeouts",
    "Limits",
    "RouteLimits",
    "RouteTimeouts",
    "Timeouts",
    "WebSocketLimits",
    "WebSocketTimeouts",
    "WireLimits",
]

KIB = 1024
MIB = 1024 * 1024


class WireLimits(Protocol):
    """What an HTTP/1.1 wire needs to know of either end's limits."""

    @property
    def max_line_bytes(self) -> int: ...
    @property
    def max_head_bytes(self) -> int: ...
    @property
    def max_fields(self) -> int: ...
    @property
    def max_chunk_extension_bytes(self) -> int: ...
    @property
    def max_trailer_bytes(self) -> int: ...
    @property
    def max_trailer_fields(self) -> int: ...


class _Bounds:
    """Shared behaviour of the four: refuse nonsense when made, and ``replace`` some fields."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if value is None and "None" in str(field.type):
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or value < 0 or value != value or ("float" not in str(field.type) and value != int(value)):
                allowed = "a number of at least 0" if "float" in str(field.type) else "a whole number of at least 0"
                if "None" in str(field.type):
                    allowed += " or None"
                raise ValueError(f"{type(self).__name__}.{field.name} must be {allowed}, not {value!r}")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; an unknown field is a TypeError."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]  # every subclass is a dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(_Bounds):
    """How much a server takes from a peer. The wire's answer to each bound is in the reference."""

    max_line_bytes: int = 8 * KIB
    """One line of a head: request line (414) or field line (431), in bytes."""
    max_head_bytes: int = 32 * KIB
    """A whole head, in bytes (431)."""
    max_fields: int = 100
    """Field lines in a head (431)."""
    max_body_bytes: int | None = 1 * MIB
    """Content of a request, in bytes (413); a route that streams raises or lifts it."""
    max_chunk_extension_bytes: int = 256
    """One chunk extension, in bytes (400); sixteen times this for all of a message together."""
    max_trailer_bytes: int = 8 * KIB
    """A trailer section, in bytes (431)."""
    max_trailer_fields: int = 32
    """Field lines in a trailer section (431)."""
    max_query_fields: int = 1000
    """Name-value pairs in a query (400)."""
    max_cookies: int = 300
    """Pairs in the Cookie fields of a request (400)."""
    max_json_depth: int = 64
    """Nesting of arrays and objects in JSON content (400)."""
    max_unread_bytes: int = 256 * KIB
    """Content that a handler left unread and that is still read to keep the connection, in bytes; else it closes."""
    max_linger_bytes: int = 64 * KIB
    """What a lingering close reads and throws away, in bytes."""
    max_connections: int | None = None
    """Open connections before accepting pauses; None means the smaller of 10,000 and the descriptors there are."""
    max_requests_per_connection: int = 10_000
    """Requests served on one connection before it is closed politely."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts(_Bounds):
    """How long a server waits for a peer, phase by phase, in seconds; ``math.inf`` lifts a bound."""

    tls_handshake_seconds: float = 10.0
    """From accept to the end of the TLS handshake; then the connection is dropped."""
    head_seconds: float = 10.0
    """From the first byte of a request to the end of its head, in all (408); from accept for the first (dropped)."""
    keep_alive_seconds: float = 30.0
    """Between an answer and the next request's first byte; then the connection is closed without a word."""
    body_idle_seconds: float = 20.0
    """Without a byte of awaited content (408)."""
    body_min_rate: float = 500.0
    """Bytes a second that awaited content must average after ``rate_grace_seconds``, judged as it comes in (408)."""
    write_stall_seconds: float = 30.0
    """Without the peer taking a byte; then the connection is reset."""
    write_min_rate: float = 500.0
    """Bytes a second that the peer must take on average after ``rate_grace_seconds`` of waiting for it (reset)."""
    rate_grace_seconds: float = 10.0
    """Waiting that the two rates forgive, in seconds."""
    handler_seconds: float = math.inf
    """A handler's time to begin its answer (503), or to end it (cut)."""
    half_close_seconds: float = 0.5
    """After a peer's FIN, without a write of ours, until the handler is cancelled."""
    unread_seconds: float = 5.0
    """Reading what a handler left unread, at most; then the connection closes."""
    linger_seconds: float = 2.0
    """A lingering close, at most."""
    connection_age_seconds: float = 3600.0
    """Age at which a connection is closed politely (10 % of jitter is added)."""
    drain_seconds: float = 10.0
    """The grace of a drain that a signal or the end of ``open_server`` started."""
    drain_delay_seconds: float = 0.0
    """From ``ready`` turning false to the listeners closing, for load balancers that look away slowly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientLimits(_Bounds):
    """How much a client opens, and takes from a server."""

    connections: int = 100
    """Open connections in all."""
    connections_per_origin: int = 20
    """Open connections to one origin."""
    idle_connections: int = 32
    """Idle connections kept for reuse."""
    max_line_bytes: int = 32 * KIB
    """One line of a response head, in bytes."""
    max_head_bytes: int = 64 * KIB
    """A whole response head, and all interim responses before one together, in bytes."""
    max_fields: int = 256
    """Field lines in a response head."""
    max_interim_responses: int = 16
    """1xx responses before a final one."""
    max_body_bytes: int | None = 100 * MIB
    """Content that a one-shot call collects, decoded, in bytes; a streamed answer has no bound."""
    max_codings: int = 3
    """Content codings applied one over the other."""
    max_decode_ratio: float = math.inf
    """Decoded bytes for each byte received, once more than 1 MiB was decoded; ``math.inf`` for none, 200 is usual."""
    max_redirects: int = 10
    """Redirects that one call follows."""
    max_chunk_extension_bytes: int = 256
    """One chunk extension, in bytes; sixteen times this for all of a message together."""
    max_trailer_bytes: int = 8 * KIB
    """A trailer section, in bytes."""
    max_trailer_fields: int = 32
    """Field lines in a trailer section."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientTimeouts(_Bounds):
    """How long a client waits, phase by phase, in seconds; ``math.inf`` lifts a bound. Each is a scope with a name."""

    connect_seconds: float = 10.0
    """DNS, TCP, proxy and TLS together (``ConnectTimeout``)."""
    pool_seconds: float = 30.0
    """Waiting for a free connection (``PoolTimeout``)."""
    head_seconds: float = 30.0
    """From the end of the request, or its last progress, to the final response head (``HeadTimeout``)."""
    read_idle_seconds: float = 30.0
    """Without a byte of awaited content (``ReadTimeout``)."""
    write_idle_seconds: float = 30.0
    """Without the server taking a byte (``WriteTimeout``)."""
    total_seconds: float = math.inf
    """A whole exchange, content included (``TotalTimeout``)."""
    expect_continue_seconds: float = 1.0
    """Waiting for 100 (Continue) before the content is sent all the same."""
    keep_alive_seconds: float = 15.0
    """Age at which an idle connection is not used again; shorter than what servers usually keep."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebSocketLimits(_Bounds):
    """How much one WebSocket takes from its peer, on either end. The close code of each bound is in parentheses."""

    max_message_bytes: int | None = 1 * MIB
    """One message, after inflation, in bytes (1009)."""
    max_fragments: int = 1024
    """Frames of one message (1008)."""
    max_control_frames_per_second: int = 100
    """Pings and pongs a second, averaged over 10 seconds (1008)."""
    max_subprotocols: int = 32
    """Subprotocols that a client may offer (400)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebSocketTimeouts(_Bounds):
    """How long one WebSocket waits for its peer, on either end, in seconds; ``math.inf`` lifts a bound."""

    ping_seconds: float = 20.0
    """Without anything from the peer, until it is sent a ping."""
    pong_seconds: float = 20.0
    """From a ping, without a word of the peer, until it counts as dead; what the program spends is not counted."""
    close_seconds: float = 5.0
    """The closing handshake, at most; also the time of a handler to come back after its client has left."""
    write_stall_seconds: float = 30.0
    """Without the peer taking what is sent, up to 64 KiB at a time; then the connection is dropped."""

    def __post_init__(self) -> None:
        _Bounds.__post_init__(self)  # super() does not know a class with slots, which the decorator makes anew
        for field in dataclasses.fields(self):
            if not getattr(self, field.name):
                raise ValueError(f"WebSocketTimeouts.{field.name} must be above 0; math.inf lifts it")


class RouteLimits(TypedDict, total=False):
    """The limits that a route may change; what it does not name is the server's."""

    max_body_bytes: int | None
    max_query_fields: int
    max_cookies: int
    max_json_depth: int
    max_unread_bytes: int


class RouteTimeouts(TypedDict, total=False):
    """The timeouts that a route may change, in seconds; what it does not name is the server's."""

    body_idle_seconds: float
    body_min_rate: float
    write_stall_seconds: float
    write_min_rate: float
    rate_grace_seconds: float
    handler_seconds: float
    half_close_seconds: float
    unread_seconds: float
