"""The client for programs without trio: the same client, in a thread of its own.

Rule 1: it is ``Client`` that does everything, with the same options; here are only the ways in, and ``timeout``.
Rule 2: a request is built in the thread that calls, so that what it is built of, iterators among it, runs there.
Rule 3: any number of threads may use one client, over its one pool; a client that derives from it shares all that.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, Unpack

from triohttp._values.limits import ClientLimits, ClientTimeouts
from triohttp._values.url import URL

from .body import UNSET, Unset
from .client import Client
from .options import ClientOptions, DerivedOptions, RequestOptions, check_type
from .pool import PoolStatistics
from .response import ClientResponse
from .sync_block import SyncBlock
from .sync_channels import SyncEventReceiver, SyncWebSocket
from .sync_input import SyncEventsOptions, SyncWebSocketOptions, adapt_defaults, adapt_request
from .sync_portal import Portal, check_timeout
from .sync_streams import SyncClientResponseStream

__all__ = ["SyncClient"]

LATE_SECONDS = 1.0
"""How much longer than its timeout a request is waited for, which ends by itself then and says how far it came."""


class SyncClient:
    """An HTTP client for programs without trio: ``Client``, with methods that block.

    It has one thread, in which trio runs; any number of threads may call at once. That thread is begun by the first
    call, or by entering the ``with`` block; leaving the block, or ``close``, ends it.

    What a call raises is what ``Client`` raises. Every method that waits takes ``timeout``, in seconds, for that one
    call; when they are over it is cancelled and raises ``TotalTimeout``. So is a call that Ctrl-C interrupts.

    Iterables of content, and functions for ``auth``, run in threads of their own: they may block, and use this client.
    Middleware, observers and other callbacks run in the client's thread: middleware is asynchronous, as for ``Client``,
    and callbacks must not block. All of them see the context variables of the thread that calls.

    Args:
        base_url: as for ``Client``.
        options: see ``ClientOptions``.
    Raises:
        RuntimeError: from each method: the program runs in trio, and has to use ``Client``; or the client was made
            before a fork.
        TypeError, ValueError: an option is none, or of another type.
    """

    def __init__(self, base_url: str | URL | None = None, **options: Unpack[ClientOptions]) -> None:
        self._client = Client(base_url, **adapt_defaults(options))
        self._parent: SyncClient | None = None
        self._portal = Portal(self._client)

    def derive(self, base_url: str | URL | Unset | None = UNSET, **options: Unpack[DerivedOptions]) -> SyncClient:
        """Return a client with other defaults over the same pool; it is closed with this one.

        Args:
            base_url: as for ``Client.derive``.
            options: see ``DerivedOptions`` and ``Client.derive``.
        """
        derived = SyncClient.__new__(SyncClient)
        derived._client = self._client.derive(base_url, **adapt_defaults(options))
        derived._parent = self
        derived._portal = self._portal
        return derived

    def __repr__(self) -> str:
        base_url = self._client.defaults.base_url
        return "<SyncClient>" if base_url is None else f"<SyncClient {base_url!r}>"

    # -- its block -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._parent is not None:
            raise RuntimeError("a derived client is used inside the block of the one it came from, it has none itself")
        self._portal.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BaseException as error:
            if exc is None or error is not self._portal.error:
                raise

    def close(self) -> None:
        """Close every connection and end the thread; whoever still waits for something gets ClientClosedError.

        It takes a moment, five seconds at most. A second time does nothing. A derived client closes nothing.

        Raises:
            BaseException: what a task in ``Client.nursery`` has raised.
            RuntimeError: it was called in the client's own thread.
        """
        if self._parent is None:
            self._portal.close()

    def __del__(self) -> None:
        portal: Portal | None = getattr(self, "_portal", None)  # None when __init__ raised
        if portal is not None and self._parent is None and portal.is_running():
            portal.abandon()
            warnings.warn(
                f"{self!r} was never closed: leave its `with` block, or close() it",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    @property
    def limits(self) -> ClientLimits:
        """How much is opened, and taken from a server."""
        return self._client.limits

    def pool_statistics(self) -> PoolStatistics:
        """Return figures about the pool at this moment."""

        async def take() -> PoolStatistics:  # it has to happen in the loop, not to wait there
            return self._client.pool.statistics()

        return self._portal.call(take)

    # -- requests ------------------------------------------------------------------------------------------------------

    def request(
        self, method: str, url: str | URL, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Return the complete answer to a request.

        Args:
            method: any token; the usual ones are put in upper case.
            url: absolute, or relative to the base URL.
            timeout: seconds that all of it may take; the shorter of it and ``ClientTimeouts.total_seconds`` counts.
            options: see ``RequestOptions``.
        Raises:
            ClientClosedError: the client was closed, before or meanwhile.
            TotalTimeout: the timeout is over.
            TrioHTTPError, TypeError, ValueError: as ``Client.request``.
        """
        portal = self._portal
        portal.check()
        adapt_request(options)
        if timeout is not None:
            seconds = check_timeout(timeout)
            timeouts = options.get("timeouts", self._client.defaults.timeouts)
            check_type("timeouts", timeouts, ClientTimeouts)
            if seconds < timeouts.total_seconds:
                options["timeouts"] = timeouts.replace(total_seconds=seconds)
        return portal.call(self._client._flow(method, url, options).fetch, timeout, LATE_SECONDS)

    def get(self, url: str | URL, *, timeout: float | None = None, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to a GET; see ``request``."""
        return self.request("GET", url, timeout=timeout, **options)

    def head(
        self, url: str | URL, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Return the answer to a HEAD; see ``request``."""
        return self.request("HEAD", url, timeout=timeout, **options)

    def options(
        self, url: str | URL, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Return the complete answer to an OPTIONS; see ``request``."""
        return self.request("OPTIONS", url, timeout=timeout, **options)

    def post(
        self, url: str | URL, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Return the complete answer to a POST; see ``request``."""
        return self.request("POST", url, timeout=timeout, **options)

    def put(self, url: str | URL, *, timeout: float | None = None, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to a PUT; see ``request``."""
        return self.request("PUT", url, timeout=timeout, **options)

    def patch(
        self, url: str | URL, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Return the complete answer to a PATCH; see ``request``."""
        return self.request("PATCH", url, timeout=timeout, **options)

    def delete(
        self, url: str | URL, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Return the complete answer to a DELETE; see ``request``."""
        return self.request("DELETE", url, timeout=timeout, **options)

    # -- blocks --------------------------------------------------------------------------------------------------------

    def stream(
        self, method: str, url: str | URL, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> AbstractContextManager[SyncClientResponseStream]:
        """Return a context manager whose value is a ``SyncClientResponseStream``: the answer as it comes in.

        Args:
            method, url, options: as for ``request``.
            timeout: seconds until the head has come; what is received then has timeouts of its own, and
                ``ClientTimeouts.total_seconds`` bounds everything.
        Raises: as ``request``; errors of the request itself are raised at once.
        """
        self._portal.check()
        block = self._client.stream(method, url, **adapt_request(options))
        return SyncBlock(self._portal, block, SyncClientResponseStream, timeout)

    def events(
        self, url: str | URL, *, timeout: float | None = None, **options: Unpack[SyncEventsOptions]
    ) -> AbstractContextManager[SyncEventReceiver]:
        """Return a context manager whose value is a ``SyncEventReceiver``: the events of a server.

        Args:
            url: as for ``request``.
            timeout: seconds until the server has agreed to send them.
            options: see ``SyncEventsOptions``, and ``Client.events`` for what they mean.
        Raises: as ``Client.events``.
        """
        self._portal.check()
        block = self._client.events(url, **adapt_request(options))
        return SyncBlock(self._portal, block, SyncEventReceiver, timeout)

    def websocket(
        self, url: str | URL, *, timeout: float | None = None, **options: Unpack[SyncWebSocketOptions]
    ) -> AbstractContextManager[SyncWebSocket]:
        """Return a context manager whose value is a ``SyncWebSocket``.

        Args:
            url: ``ws``, ``wss``, or as for ``request``.
            timeout: seconds until it is open.
            options: see ``SyncWebSocketOptions``, and ``Client.websocket`` for what they mean.
        Raises: as ``Client.websocket``.
        """
        self._portal.check()
        return SyncBlock(self._portal, self._client.websocket(url, **options), SyncWebSocket, timeout)
