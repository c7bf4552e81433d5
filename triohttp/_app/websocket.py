"""WebSockets that a handler owns: the handshake, the connection taken over, and the channel on it.

Rule 1: what is wrong with a request is told before anything goes out, as an HTTP status.
Rule 2: what the client does to the WebSocket is no fault of the program's (``Request._blame``).
"""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from triohttp._channels.websocket import WebSocket
from triohttp._values.headers import Headers
from triohttp._values.limits import WebSocketLimits, WebSocketTimeouts
from triohttp._values.service import Exchange
from triohttp._wire.websocket import Role
from triohttp._wire.websocket_deflate import PerMessageDeflate
from triohttp._wire.websocket_handshake import Accepted, Refusal, accept_upgrade, answer_fields

from .exceptions import BadRequest, Forbidden, HTTPException, MethodNotAllowed, UpgradeRequired

if TYPE_CHECKING:
    from .request import Request

__all__ = ["RequestWebSocket"]


class RequestWebSocket:
    """What ``request.websocket`` returns: ``async with`` it and use the channel."""

    __slots__ = (
        "_bounds",
        "_compression",
        "_exchange",
        "_headers",
        "_origins",
        "_request",
        "_subprotocols",
        "_websocket",
    )

    def __init__(
        self,
        request: Request,
        exchange: Exchange,
        subprotocols: tuple[str, ...],
        origins: tuple[Collection[str], bool],
        compression: PerMessageDeflate | None,
        headers: Headers,
        bounds: tuple[WebSocketLimits, WebSocketTimeouts],
    ) -> None:
        self._request = request
        self._exchange = exchange
        self._subprotocols = subprotocols
        self._origins = origins
        self._compression = compression
        self._headers = headers
        self._bounds = bounds
        self._websocket: WebSocket | None = None

    async def __aenter__(self) -> WebSocket:
        accepted = self._judge()
        headers = self._headers.copy()
        for name, value in answer_fields(accepted):
            headers.add(name, value)
        # Not left as a block of its own: the WebSocket closes the stream.
        stream = await self._request.take_over("websocket", headers).__aenter__()
        policy = self._exchange.on_disconnect
        self._exchange.on_disconnect = "finish"  # whether the client is there is for the WebSocket to find out
        limits, timeouts = self._bounds
        websocket = WebSocket(
            stream,
            Role.SERVER,
            limits=limits,
            timeouts=timeouts,
            agreement=accepted.agreement,
            compression=self._compression,
            subprotocol=accepted.subprotocol,
            headers=self._request.headers,
            wait_going_away=self._exchange.wait_draining,
            cancel_on_leave=policy == "cancel",
        )
        try:
            await websocket.__aenter__()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        self._websocket = websocket
        return websocket

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        websocket = self._websocket
        assert websocket is not None
        if websocket.failure is not None:
            self._request._blame(websocket.failure)
        closed_elsewhere = isinstance(exc, trio.ClosedResourceError) and websocket.program_closed
        # Another task of the program has closed it: that is no fault of the one that was receiving.
        return await websocket.__aexit__(kind, exc, traceback) or closed_elsewhere

    def _judge(self) -> Accepted:
        """Return what the handshake comes to.

        Raises:
            HTTPException: the request opens no WebSocket; the connection closes after the answer.
        """
        origins, require_origin = self._origins
        limits, _ = self._bounds
        verdict = accept_upgrade(
            self._exchange.head,
            has_content=self._exchange.content_length != 0,
            subprotocols=self._subprotocols,
            compression=self._compression,
            origins=origins,
            require_origin=require_origin,
            max_subprotocols=limits.max_subprotocols,
        )
        if isinstance(verdict, Refusal):
            self._exchange.close_after()
            raise _exception_for(verdict)
        return verdict


def _exception_for(refusal: Refusal) -> HTTPException:
    text = refusal.text + "\n"
    if refusal.status == 405:
        return MethodNotAllowed(text, allowed=["GET"])
    if refusal.status == 426:
        return UpgradeRequired(text, protocol="websocket", headers={"Sec-WebSocket-Version": "13"})
    return Forbidden(text) if refusal.status == 403 else BadRequest(text)
