"""The client: what a program holds, and the one-shot call.

Rule 1: a client is used inside its ``async with`` block; when the block is left nothing of it goes on.
Rule 2: no tasks of its own: everything runs in the task that called.
Rule 3: a derived client is another set of defaults over the same pool; it lives as long as the one it came from.
"""

from __future__ import annotations

import math
import os
import ssl
import warnings
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self, Unpack

import trio

from triohttp._channels.websocket import DEFAULT_COMPRESSION, check_options
from triohttp._channels.websocket import DEFAULT_LIMITS as WEBSOCKET_LIMITS
from triohttp._channels.websocket import DEFAULT_TIMEOUTS as WEBSOCKET_TIMEOUTS
from triohttp._values.headers import Headers, HeadersInit
from triohttp._values.limits import ClientLimits, ClientTimeouts, WebSocketLimits, WebSocketTimeouts
from triohttp._values.query import Query, QueryInit
from triohttp._values.url import URL
from triohttp._wire.websocket_deflate import PerMessageDeflate
from triohttp._wire.websocket_handshake import check_own_fields, check_subprotocols, request_fields
from triohttp.errors import TrioHTTPError, clip

from .body import UNSET, Unset
from .call import Call
from .dial import Dialer
from .events import EventReceiver, EventsContext, EventsSettings, event_fields
from .origin import Mounts, Origin
from .pool import Destination, Pool, closed_error
from .request import DEFAULT_HEADERS, Defaults, RequestOptions, build_request
from .response import ClientResponse
from .stream import StreamContext, UpgradeContext
from .tls import make_context
from .websocket import WebSocketContext, http_url

__all__ = ["Client"]

CLOSING_SECONDS = 1.0
"""How long leaving a client's block waits for dials that it has just cancelled."""

DEFAULT_LIMITS: Final = ClientLimits()
DEFAULT_TIMEOUTS: Final = ClientTimeouts()


class _Shared:
    """What a client and those derived from it have together."""

    __slots__ = ("ca", "dialer", "entered", "limits", "mounts", "pool", "tls")

    def __init__(
        self,
        limits: ClientLimits,
        keep_alive_seconds: float,
        tls: ssl.SSLContext | None,
        ca: str | os.PathLike[str] | None,
        mounts: Mounts,
    ) -> None:
        self.limits = limits
        self.tls = tls
        self.ca = ca
        self.mounts = mounts
        self.pool = Pool(limits, keep_alive_seconds)
        self.dialer = Dialer(limits, mounts)
        self.entered = False

    def destination(self, url: URL) -> Destination:
        """Return where a request for ``url`` goes."""
        scheme, host, port = url.origin
        tls = self.tls
        if scheme == "http":
            tls = None
        elif tls is None:
            tls = self.tls = make_context(self.ca)
        return Destination(scheme, host, port, tls, self.mounts.find(url) if self.mounts else "")


class Client:
    """An HTTP client with a pool of connections.

    Every method raises, beside what it says itself: ``ConnectError`` and ``TLSError`` when no connection can be opened,
    ``DisconnectedError`` when the server goes away, ``RemoteProtocolError`` when its answer is not HTTP, the named
    timeouts of ``ClientTimeouts``, ``ClientClosedError`` when the client is not open or is closed meanwhile, and what
    the iterable of a request's content raises, unchanged. Redirects are returned like any other answer.

    Args:
        base_url: what relative URLs are relative to (RFC 3986 §5: end it with a slash to keep its whole path); requests
            then stay at its origin.
        headers: header fields of every request; each name replaces what the client would send under it.
        params: query fields of every request, put after those of its URL.
        limits: how much to open and to take from a server.
        timeouts: how long to wait for one.
        tls: whom to trust and who to be, used as it is; by default servers are verified with the system's authorities.
        ca: a file or directory of authorities in PEM that are trusted instead of the system's.
        mounts: origins that are reached by a stream of their own instead of through the network.
        mounts_only: refuse every URL that no mount matches.
    """

    def __init__(
        self,
        base_url: str | URL | None = None,
        *,
        headers: HeadersInit | None = None,
        params: QueryInit | None = None,
        limits: ClientLimits = DEFAULT_LIMITS,
        timeouts: ClientTimeouts = DEFAULT_TIMEOUTS,
        tls: ssl.SSLContext | None = None,
        ca: str | os.PathLike[str] | None = None,
        mounts: Mapping[str, Origin] | None = None,
        mounts_only: bool = False,
    ) -> None:
        _check_type("limits", limits, ClientLimits)
        _check_type("timeouts", timeouts, ClientTimeouts)
        if tls is not None:
            _check_type("tls", tls, ssl.SSLContext)
        if tls is not None and ca is not None:
            raise TypeError("give either tls, which says itself whom to trust, or ca")
        self._defaults = _defaults(base_url, DEFAULT_HEADERS, headers, params)
        self._timeouts = timeouts
        self._parent: Client | None = None
        self._shared = _Shared(limits, timeouts.keep_alive_seconds, tls, ca, Mounts(mounts or {}, only=mounts_only))

    def derive(
        self,
        base_url: str | URL | Unset | None = UNSET,
        *,
        headers: HeadersInit | None = None,
        params: QueryInit | None = None,
        timeouts: ClientTimeouts | None = None,
    ) -> Client:
        """Return a client with other defaults over the same pool; it has no block of its own.

        Args:
            base_url: as for ``Client``, relative to this one's; None for none.
            headers: header fields that replace those of this client, name by name.
            params: query fields that come after those of this client.
            timeouts: other bounds; ``keep_alive_seconds`` stays the pool's.
        """
        own = self._defaults
        if timeouts is not None:
            _check_type("timeouts", timeouts, ClientTimeouts)
        if isinstance(base_url, Unset):
            base_url = own.base_url
        elif isinstance(base_url, str) and own.base_url is not None:
            base_url = own.base_url.join(base_url)
        if params is not None and own.params is not None:
            params = [*Query(own.params).pairs(), *Query(params).pairs()]
        derived = Client.__new__(Client)
        derived._defaults = _defaults(base_url, own.headers, headers, own.params if params is None else params)
        derived._timeouts = self._timeouts if timeouts is None else timeouts
        derived._parent = self
        derived._shared = self._shared
        return derived

    def __repr__(self) -> str:
        base = f" {self._defaults.base_url!r}" if self._defaults.base_url is not None else ""
        return f"<Client{base} {self.pool.statistics().connections} connections>"

    @property
    def pool(self) -> Pool:
        """The pool, for its ``statistics``."""
        return self._shared.pool

    # -- its block -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()  # before anything is claimed: a cancelled entry has no exit
        if self._parent is not None:
            raise RuntimeError("a derived client is used inside the block of the one it came from, it has none itself")
        if self._shared.entered:
            raise RuntimeError("a client is entered once")
        self._shared.entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close every connection; whoever still uses one gets ClientClosedError."""
        self._shared.pool.close()
        with trio.CancelScope(deadline=trio.current_time() + CLOSING_SECONDS, shield=True):
            await self._shared.pool.wait_settled()

    def __del__(self) -> None:
        shared: _Shared | None = getattr(self, "_shared", None)  # None when __init__ raised
        if shared is not None and self._parent is None and shared.entered and not shared.pool.closed:
            warnings.warn(
                f"{self!r} was never closed: leave its `async with` block", ResourceWarning, stacklevel=2, source=self
            )

    # -- requests ------------------------------------------------------------------------------------------------------

    async def request(self, method: str, url: str | URL, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to a request.

        Args:
            method: any token; the usual ones are put in upper case.
            url: absolute, or relative to the base URL.
            options: see ``RequestOptions``.
        Cancellation: fatal.
        Raises:
            BodyTooLargeError: the answer's content passes ``ClientLimits.max_body_bytes``.
            InvalidURLError, InvalidHeaderError, ContentError, LocalProtocolError, TypeError, ValueError: the request is
                no request; nothing was sent.
        """
        return await _fetch(self._call(method, url, options), self._shared.limits.max_body_bytes)

    async def get(self, url: str | URL, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to a GET; see ``request``."""
        return await _fetch(self._call("GET", url, options), self._shared.limits.max_body_bytes)

    async def head(self, url: str | URL, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the answer to a HEAD; see ``request``."""
        return await self.request("HEAD", url, **options)

    async def options(self, url: str | URL, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to an OPTIONS; see ``request``."""
        return await self.request("OPTIONS", url, **options)

    async def post(self, url: str | URL, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to a POST; see ``request``."""
        return await self.request("POST", url, **options)

    async def put(self, url: str | URL, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to a PUT; see ``request``."""
        return await self.request("PUT", url, **options)

    async def patch(self, url: str | URL, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to a PATCH; see ``request``."""
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str | URL, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to a DELETE; see ``request``."""
        return await self.request("DELETE", url, **options)

    def stream(self, method: str, url: str | URL, **options: Unpack[RequestOptions]) -> StreamContext:
        """Return an async context manager whose value is a ``ClientResponseStream``: the answer as it comes in.

        Args and Raises: as ``request``; errors of the request itself are raised at once.
        """
        return StreamContext(self._call(method, url, options), self._shared.limits.max_body_bytes)

    def upgrade(self, protocol: str, url: str | URL, **options: Unpack[RequestOptions]) -> UpgradeContext:
        """Return an async context manager whose value is an ``Upgraded``: the raw stream after 101.

        Args:
            protocol: what to switch to, for the Upgrade field; the request is a GET (RFC 9110 §7.8).
        """
        return UpgradeContext(self._call("GET", url, options, upgrade=protocol))

    def events(
        self,
        url: str | URL,
        *,
        method: str = "GET",
        last_event_id: str | None = None,
        reconnect: bool | None = None,
        reconnect_seconds: float = 1.0,
        max_event_bytes: int = 1024 * 1024,
        idle_seconds: float = math.inf,
        **options: Unpack[RequestOptions],
    ) -> EventsContext:
        """Return an async context manager whose value is an ``EventReceiver``: the events of a server.

        Entering raises what the first connection does. Later on, when the connection breaks, the stream ends, or the
        server answers 429 or 5xx, the receiver waits and connects again: ``reconnect_seconds`` after an event, twice as
        long after each attempt without one, up to a minute, a Retry-After at least, all give or take half of it.

        Args:
            url: as for ``request``.
            method: as for ``request``.
            last_event_id: where to go on from.
            reconnect: whether to connect again; None means for GET, since another request may do its work again.
            reconnect_seconds: how long to wait first, from 0.1 to 60, unless the server says so.
            max_event_bytes: bound on one event, in bytes.
            idle_seconds: without a byte, a comment being some, until the connection counts as broken.
            options: see ``RequestOptions``. Content must not come from an iterable; of the timeouts, ``total_seconds``
                and, once events come, ``read_idle_seconds`` do not count.
        Raises:
            TypeError, ValueError: an argument is none, or the request is none; nothing was sent.
        Source: HTML §9.2.
        """
        settings = EventsSettings(
            method.upper() == "GET" if reconnect is None else reconnect,
            reconnect_seconds,
            max_event_bytes,
            idle_seconds,
        )
        timeouts = options.get("timeouts", self._timeouts)
        _check_type("timeouts", timeouts, ClientTimeouts)
        options["timeouts"] = timeouts.replace(total_seconds=math.inf)
        options["headers"] = event_fields(options.get("headers"), last_event_id)
        return EventsContext(EventReceiver(self._call(method, url, options), settings, last_event_id))

    def websocket(
        self,
        url: str | URL,
        *,
        subprotocols: Sequence[str] = (),
        headers: HeadersInit | None = None,
        params: QueryInit | None = None,
        compression: PerMessageDeflate | None = DEFAULT_COMPRESSION,
        limits: WebSocketLimits = WEBSOCKET_LIMITS,
        timeouts: WebSocketTimeouts = WEBSOCKET_TIMEOUTS,
    ) -> WebSocketContext:
        """Return an async context manager whose value is a ``WebSocket``.

        The block ends with a close of 1000, with 1001 when it is cancelled, with 1011 when it failed. The WebSocket
        keeps its connection, one of ``connections_per_origin``, until then. Redirects are not followed.

        Args:
            url: ``ws``, ``wss``, or as for ``request``.
            subprotocols: those that this end speaks, the preferred one first.
            headers: header fields of the request, beside those of the handshake; ``Origin`` for a server that asks.
            params: as for ``request``.
            compression: how messages are compressed when the server can; None not to offer it.
            limits: how much is taken from the server.
            timeouts: how long the server may take, once the WebSocket is open; until then the client's count.
        Raises:
            HandshakeError: on entry: the server said no, or yes in a way that does not count.
            ValueError: a subprotocol is no token, or a header field is the handshake's own.
        Source: RFC 6455 §4.1.
        """
        bounds = check_options(limits, timeouts, compression)
        names = check_subprotocols(subprotocols)
        fields = check_own_fields(Headers(headers if headers is not None else ()), client=True)
        key, own = request_fields(names, compression)
        for name, value in own:
            fields.add(name, value)
        options: RequestOptions = {"headers": fields}
        if params is not None:
            options["params"] = params
        upgrade = UpgradeContext(self._call("GET", http_url(url), options, upgrade="websocket"))
        return WebSocketContext(upgrade, key, names, compression, bounds)

    def _call(self, method: str, url: str | URL, options: RequestOptions, *, upgrade: str | None = None) -> Call:
        shared = self._shared
        if not shared.entered:
            raise closed_error()
        request = build_request(self._defaults, method, url, options, upgrade=upgrade)
        timeouts = options.get("timeouts", self._timeouts)
        _check_type("timeouts", timeouts, ClientTimeouts)
        return Call(shared.pool, shared.dialer, shared.destination(request.url), request, shared.limits, timeouts)


async def _fetch(call: Call, max_bytes: int | None) -> ClientResponse:
    """Return the complete answer to a call."""
    started = trio.current_time()
    response: ClientResponse | None = None
    try:
        await call.start()
        with call.begin():
            head = await call.receive_head()
            content = await call.read(max_bytes)
            assert call.content is not None
            response = ClientResponse(
                call.request, head, call.interim, content, call.content.trailers, trio.current_time() - started
            )
        if response is None:
            raise call.failure()
    except TrioHTTPError as exc:
        call.explain(exc)
        raise
    finally:
        call.close()
        await call.join()
    return response


def _defaults(
    base_url: str | URL | None, inherited: Headers, headers: HeadersInit | None, params: QueryInit | None
) -> Defaults:
    merged = inherited.copy()
    if headers is not None:
        merged.update(headers)
    if params is not None:
        params = Query(params)  # pairs may come from an iterator, which would be empty the second time
    if base_url is not None and not isinstance(base_url, URL):
        base_url = URL(base_url)
    return Defaults(base_url, merged, params)


def _check_type(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {clip(value)}")
