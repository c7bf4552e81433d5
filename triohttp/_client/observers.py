"""Observers: programs that want to know what happens on the way, byte by byte if need be.

Rule 1: nothing is asked of whom nobody overrides: a client without observers pays one comparison an event.
Rule 2: an observer looks on, synchronously; what it raises ends the call, like an error of the exchange. Only what
        ``released`` raises is logged: by then the connection has been given back, and nothing else may be lost.
Rule 3: what changes requests or answers, or waits, is middleware.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from triohttp.errors import clip

if TYPE_CHECKING:
    from triohttp._values.headers import Headers
    from triohttp._values.message import ConnectionInfo

    from .request import ClientRequest

__all__ = ["ClientObserver", "Observers"]

LOGGER = logging.getLogger("triohttp.client")


class ClientObserver:
    """Told what happens to each request on its way; a subclass overrides what it wants to hear of.

    Each method gets the request as it goes out, with the credentials that are in it. A request that is redirected, or
    sent again, is told of once for each time.
    """

    def dial_started(self, request: ClientRequest, destination: str) -> None:
        """A connection is being opened, to ``scheme://host:port``."""

    def connected(self, request: ClientRequest, connection: ConnectionInfo) -> None:
        """A new connection is open, its TLS handshake included: ``connection.tls`` has its facts."""

    def request_sent(self, request: ClientRequest) -> None:
        """The whole request has gone out."""

    def head_received(self, request: ClientRequest, status: int, headers: Headers) -> None:
        """The head of the answer has come; none of its content was read."""

    def bytes_received(self, request: ClientRequest, data: bytes) -> None:
        """Bytes have come off the connection; they have not been looked at. Together they are the answer as sent."""

    def content_received(self, request: ClientRequest, data: bytes) -> None:
        """A piece of content has come, without its framing; its codings are not undone."""

    def released(self, request: ClientRequest, *, reusable: bool) -> None:
        """The exchange is over, however it ended, and its connection given back; ``reusable`` says whether it lives."""


EVENTS = (
    "bytes_received",
    "connected",
    "content_received",
    "dial_started",
    "head_received",
    "released",
    "request_sent",
)


class Observers:
    """The observers of a client, by what they want to hear of.

    Raises:
        TypeError: one is no ``ClientObserver``.
    """

    __slots__ = EVENTS

    bytes_received: tuple[Callable[[ClientRequest, bytes], None], ...]
    connected: tuple[Callable[[ClientRequest, ConnectionInfo], None], ...]
    content_received: tuple[Callable[[ClientRequest, bytes], None], ...]
    dial_started: tuple[Callable[[ClientRequest, str], None], ...]
    head_received: tuple[Callable[[ClientRequest, int, Headers], None], ...]
    released: tuple[Callable[..., None], ...]
    request_sent: tuple[Callable[[ClientRequest], None], ...]

    def __init__(self, observers: Sequence[ClientObserver]) -> None:
        for one in observers:
            if not isinstance(one, ClientObserver):
                raise TypeError(f"an observer must be a ClientObserver, not {clip(one)}")
        for event in EVENTS:
            plain = getattr(ClientObserver, event)
            listening = (getattr(one, event) for one in observers if getattr(type(one), event) is not plain)
            setattr(self, event, tuple(listening))

    def tell_released(self, request: ClientRequest, reusable: bool) -> None:
        """Tell of the end of an exchange; what an observer raises is logged."""
        for released in self.released:
            try:
                released(request, reusable=reusable)
            except Exception:
                LOGGER.exception("an observer failed when %s was over", request)
