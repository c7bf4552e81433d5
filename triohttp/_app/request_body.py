"""The content of a request, as the handler receives it.

Rule 1: it is pulled from the connection, never read ahead: a client sends no faster than the handler reads.
Rule 2: what goes wrong here is the doing of the request's own peer, and is remembered as that (``Request._blame``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from triohttp._values.headers import Headers
from triohttp._values.service import Exchange
from triohttp.errors import TrioHTTPError

if TYPE_CHECKING:
    from .request import Request

__all__ = ["RequestBody"]


class RequestBody(trio.abc.ReceiveStream):
    """A request's content as a trio receive stream.

    It comes from the connection as it is received, so a client sends no faster than the handler reads. 100 (Continue)
    goes out with the first receive, when the client waits for it.
    """

    def __init__(self, request: Request, exchange: Exchange) -> None:
        self._request: Request | None = request  # None once nothing can go wrong: the request knows this object too
        self._content = exchange.content

    @property
    def length(self) -> int | None:
        """Bytes announced, 0 without content; None when only the end will tell."""
        return self._content.length

    @property
    def received(self) -> int:
        """Bytes received so far."""
        return self._content.received

    @property
    def at_end(self) -> bool:
        """Whether the end has been seen."""
        return self._content.at_end

    @property
    def trailers(self) -> Headers | None:
        """The fields behind the content, once its end has been seen; None when there are none."""
        return self._content.trailers

    @property
    def max_bytes(self) -> int | None:
        """Bound on the content, in bytes; it may be moved until it is passed. None lifts it."""
        return self._content.max_bytes

    @max_bytes.setter
    def max_bytes(self, max_bytes: int | None) -> None:
        self._content.max_bytes = max_bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some content, at most ``max_bytes``; ``b""`` at its end.

        Cancellation: resumable.
        Raises:
            BodyTooLargeError: the content passes the bound of this stream, or says that it will.
            BodyTruncatedError, DisconnectedError: the client went away in the middle.
            ReadTimeout: content did not come, or came too slowly.
            RemoteProtocolError: the framing is broken.
        """
        try:
            data = await self._content.receive_some(max_bytes)
        except TrioHTTPError as exc:
            if self._request is not None:
                self._request._blame(exc)
            raise
        if self._content.at_end:
            self._request = None
        return data

    async def aclose(self) -> None:
        """Receive nothing more; what is left is dealt with after the answer."""
        await self._content.aclose()
