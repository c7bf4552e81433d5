"""WebSockets of a client: the upgrade, what the server's answer must say, and the channel on the stream.

Rule 1: the call owns its slot in the pool as long as the WebSocket lasts; leaving the block gives it back.
Rule 2: an answer that is none to this request ends the connection: what comes after it is not to be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import trio

from triohttp._channels.websocket import WebSocket
from triohttp._values.limits import WebSocketLimits, WebSocketTimeouts
from triohttp._values.message import ResponseHead
from triohttp._values.url import URL
from triohttp._wire.websocket import Role
from triohttp._wire.websocket_deflate import PerMessageDeflate
from triohttp._wire.websocket_handshake import check_answer
from triohttp.errors import HandshakeError, StatusError

from .stream import UpgradeContext

__all__ = ["WebSocketContext", "http_url"]

_SCHEMES = {"ws": "http", "wss": "https"}


def http_url(url: str | URL) -> str | URL:
    """Return the URL that a WebSocket's handshake is for: ``ws`` becomes ``http``, ``wss`` becomes ``https``."""
    if isinstance(url, str):
        scheme, colon, rest = url.partition(":")
        return f"{_SCHEMES[scheme.lower()]}:{rest}" if colon and scheme.lower() in _SCHEMES else url
    return url.replace(scheme=_SCHEMES[url.scheme]) if url.scheme in _SCHEMES else url


class WebSocketContext:
    """The block of ``client.websocket``."""

    __slots__ = ("_bounds", "_compression", "_key", "_subprotocols", "_upgrade", "_websocket")

    def __init__(
        self,
        upgrade: UpgradeContext,
        key: str,
        subprotocols: Sequence[str],
        compression: PerMessageDeflate | None,
        bounds: tuple[WebSocketLimits, WebSocketTimeouts],
    ) -> None:
        self._upgrade = upgrade
        self._key = key
        self._subprotocols = subprotocols
        self._compression = compression
        self._bounds = bounds
        self._websocket: WebSocket | None = None

    async def __aenter__(self) -> WebSocket:
        """Ask for the WebSocket and return it when it is open.

        Cancellation: fatal.
        Raises:
            HandshakeError: the server said no, or yes in a way that does not count.
        """
        try:
            upgraded = await self._upgrade.__aenter__()
        except StatusError as exc:
            raise HandshakeError(
                f"the server opened no WebSocket, it answered {exc.code}", code=exc.code, content=exc.content
            ) from exc
        stream = upgraded.stream
        limits, timeouts = self._bounds
        try:
            subprotocol, agreement = check_answer(
                ResponseHead(101, upgraded.headers), self._key, self._subprotocols, self._compression
            )
            websocket = WebSocket(
                stream,
                Role.CLIENT,
                limits=limits,
                timeouts=timeouts,
                agreement=agreement,
                compression=self._compression,
                subprotocol=subprotocol,
                headers=upgraded.headers,
            )
            await websocket.__aenter__()
        except BaseException as exc:
            try:
                await trio.aclose_forcefully(stream)
            finally:  # a cancellation comes out of that, and the slot has to be given back all the same
                await self._upgrade.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        self._websocket = websocket
        return websocket

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Close the WebSocket: with 1000, with 1001 when the block is cancelled, with 1011 when it failed."""
        assert self._websocket is not None
        try:
            return await self._websocket.__aexit__(kind, exc, traceback)
        finally:
            await self._upgrade.__aexit__(kind, exc, traceback)
