"""The client: what a program holds, and the one-shot call.

Rule 1: a client is used inside its ``async with`` block; when the block is left nothing of it goes on.
Rule 2: no tasks of its own: everything runs in the task that called.
Rule 3: a derived client is another set of defaults over the same pool; it lives as long as the one it came from.
"""

from __future__ import annotations

import math
import ssl
import warnings
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Self, Unpack

import trio

from triohttp._channels.websocket import DEFAULT_COMPRESSION
from triohttp._channels.websocket import DEFAULT_LIMITS as WEBSOCKET_LIMITS
from triohttp._channels.websocket import DEFAULT_TIMEOUTS as WEBSOCKET_TIMEOUTS
from triohttp._channels.websocket import check_options as check_websocket_options
from triohttp._values.headers import Headers, HeadersInit
from triohttp._values.limits import ClientLimits, ClientTimeouts, WebSocketLimits, WebSocketTimeouts
from triohttp._values.query import QueryInit
from triohttp._values.url import URL
from triohttp._wire.websocket_deflate import PerMessageDeflate
from triohttp._wire.websocket_handshake import check_own_fields, check_subprotocols, request_fields

from .body import UNSET, Unset
from .call import Call
from .cookie_jar import CookieJar
from .dial import Dialer
from .events import EventReceiver, EventsContext, EventsSettings, event_fields
from .fan_out import ItemT, MapContext, hedge
from .flow import Flow
from .groups import only_one
from .observers import Observers
from .options import ClientOptions, DerivedOptions, RequestOptions, check_options, check_type
from .origin import Mounts
from .pool import Pool, closed_error
from .proxies import make_proxies
from .redirects import RedirectPolicy
from .request import DEFAULT_HEADERS, ClientRequest, Defaults, build_request, derive_defaults
from .resolve import make_resolve
from .response import ClientResponse
from .routes import Routes
from .stream import StreamContext, UpgradeContext
from .tls import Certificate, parse_pins
from .websocket import WebSocketContext, http_url

__all__ = ["Client"]

CLOSING_SECONDS = 1.0
"""How long leaving a client's block waits for dials that it has just cancelled."""

DEFAULT_LIMITS: Final = ClientLimits()
_DERIVED_OPTIONS: Final = frozenset(DerivedOptions.__annotations__)
_CLIENT_OPTIONS: Final = frozenset(ClientOptions.__annotations__)


class _Shared:
    """What a client and those derived from it have together."""

    __slots__ = ("dialer", "entered", "limits", "manager", "nursery", "observers", "pool", "routes")

    def __init__(self, options: ClientOptions, timeouts: ClientTimeouts, base_url: URL | None) -> None:
        limits = options.get("limits", DEFAULT_LIMITS)
        check_type("limits", limits, ClientLimits)
        tls = options.get("tls")
        if tls is not None:
            check_type("tls", tls, ssl.SSLContext)
            for name in ("ca", "certificate"):
                if options.get(name) is not None:
                    raise TypeError(f"give either tls, which says itself whom to trust and who to be, or {name}")
            if not options.get("verify", True):
                raise TypeError("give either tls, which says itself whether to verify, or verify=False")
        mounts = Mounts(options.get("mounts") or {}, only=options.get("mounts_only", False))
        self.limits = limits
        self.routes = Routes(
            mounts,
            proxies=make_proxies(options.get("proxies")),
            tls=tls,
            ca=options.get("ca"),
            verify=options.get("verify", True),
            certificates=_certificates(options.get("certificate"), base_url),
        )
        self.dialer = Dialer(
            limits,
            mounts,
            self.routes,
            pins=parse_pins(options.get("pins") or {}),
            connect=options.get("connect"),
            resolve=make_resolve(options.get("resolve")),
            local_address=options.get("local_address"),
        )
        observers = options.get("observers", ())
        self.observers = Observers(observers) if observers else None
        self.pool = Pool(limits, timeouts.keep_alive_seconds)
        self.entered = False
        self.manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self.nursery: trio.Nursery | None = None


def _certificates(
    init: Certificate | Mapping[str, Certificate] | None, base_url: URL | None
) -> dict[tuple[str, str, int] | None, Certificate]:
    """Return client certificates by the origin that they are for; under None, for every origin."""
    if init is None:
        return {}
    if isinstance(init, Mapping):
        return {URL(origin).origin: one for origin, one in init.items()}
    check_type("certificate", init, Certificate)
    return {None if base_url is None else base_url.origin: init}


class Client:
    """An HTTP client with a pool of connections.

    Redirects are followed, cookies kept, content codings undone. Secrets stay at the origin that they were given for.

    Every method raises, beside what it says itself: ``ConnectError`` and ``TLSError`` when no connection can be opened,
    ``DisconnectedError`` when the server goes away, ``RemoteProtocolError`` when its answer is not HTTP, the named
    timeouts of ``ClientTimeouts``, ``TooManyRedirectsError`` and ``RedirectError`` when a redirect is not followed,
    ``AuthError`` when credentials cannot be had, ``ClientClosedError`` when the client is not open or is closed
    meanwhile, and what the iterable of a request's content raises, unchanged.

    Args:
        base_url: what relative URLs are relative to (RFC 3986 §5: end it with a slash to keep its whole path); requests
            then stay at its origin.
        options: see ``ClientOptions``.
    Raises:
        TypeError, ValueError: an option is none, or of another type.
    """

    def __init__(self, base_url: str | URL | None = None, **options: Unpack[ClientOptions]) -> None:
        check_options(options, _CLIENT_OPTIONS, "a client")
        own = Defaults(None, DEFAULT_HEADERS, redirects=RedirectPolicy(), cookies=CookieJar())
        options.setdefault("decode", True)
        self.defaults = derive_defaults(own, base_url, options)
        self._parent: Client | None = None
        self._shared = _Shared(options, self.defaults.timeouts, self.defaults.base_url)

    def derive(
        self, base_url: str | URL | Unset | None = UNSET, **options: Unpack[DerivedOptions]
    ) -> Client:
        """Return a client with other defaults over the same pool; it has no block of its own.

        Args:
            base_url: as for ``Client``, relative to this one's; None for none.
            options: see ``DerivedOptions``. Header fields replace those of this client name by name, query fields come
                after its own, middleware goes inside of its own; the rest takes the place of what this client has.
        """
        check_options(options, _DERIVED_OPTIONS, "a derived client")
        derived = Client.__new__(Client)
        derived.defaults = derive_defaults(self.defaults, base_url, options)
        derived._parent = self
        derived._shared = self._shared
        return derived

    def __repr__(self) -> str:
        base = f" {self.defaults.base_url!r}" if self.defaults.base_url is not None else ""
        return f"<Client{base} {self.pool.statistics().connections} connections>"

    @property
    def pool(self) -> Pool:
        """The pool, for its ``statistics``."""
        return self._shared.pool

    # -- its block -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()  # before anything is claimed: a cancelled entry has no exit
        shared = self._shared
        if self._parent is not None:
            raise RuntimeError("a derived client is used inside the block of the one it came from, it has none itself")
        if shared.entered:
            raise RuntimeError("a client is entered once")
        shared.entered = True
        shared.manager = trio.open_nursery()
        shared.nursery = await shared.manager.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Close every connection and end every task; whoever still uses one gets ClientClosedError."""
        shared = self._shared
        assert shared.nursery is not None
        assert shared.manager is not None
        await self.aclose()
        failed = shared.nursery.cancel_scope.cancel_called  # by a task of it that raised
        shared.nursery.cancel_scope.cancel(reason="the client was closed")
        try:
            if exc is None or failed:
                return await shared.manager.__aexit__(kind, exc, traceback)
            await shared.manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            if exc is None or failed:
                raise only_one(group) from None
        return False  # the block's own exception, which is no business of the nursery's

    async def aclose(self) -> None:
        """Close every connection now, inside the block or from another task; whoever uses one gets ClientClosedError.

        Leaving the block does it too. A second time does nothing.

        Cancellation: shielded, for at most a second: dials that have just been cancelled are waited for.
        """
        self._shared.pool.close()
        with trio.CancelScope(deadline=trio.current_time() + CLOSING_SECONDS, shield=True):
            await self._shared.pool.wait_settled()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def __del__(self) -> None:
        shared: _Shared | None = getattr(self, "_shared", None)  # None when __init__ raised
        if shared is not None and self._parent is None and shared.entered and not shared.pool.closed:
            warnings.warn(
                f"{self!r} was never closed: leave its `async with` block", ResourceWarning, stacklevel=2, source=self
            )

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery of the client's block, for what has to outlive a call; it is cancelled when the block is left.

        A task of it that raises cancels the block, which then raises that.

        Raises:
            ClientClosedError: the client is not open.
        """
        if self._shared.nursery is None or self._shared.pool.closed:
            raise closed_error()
        return self._shared.nursery

    @property
    def limits(self) -> ClientLimits:
        """How much is opened, and taken from a server."""
        return self._shared.limits

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
        return await self._flow(method, url, options).fetch()

    async def get(self, url: str | URL, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Return the complete answer to a GET; see ``request``."""
        return await self._flow("GET", url, options).fetch()

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
        return StreamContext(self._flow(method, url, options))

    async def hedge(
        self,
        method: str,
        url: str | URL,
        *,
        after_seconds: float,
        attempts: int = 2,
        idempotent: bool | None = None,
        **options: Unpack[RequestOptions],
    ) -> ClientResponse:
        """Return the first good answer to a request that is sent again when it takes long.

        The others are cancelled then. A good answer is one that is neither 429 nor 5xx; where there is none, the first
        answer is returned, or the first error raised.

        Args:
            method, url, options: as for ``request``; content must be bytes, text, JSON or a form.
            after_seconds: without an answer, until it is sent once more; at once when an attempt fails.
            attempts: how often it is sent at most.
            idempotent: whether it may be sent twice; None means what its method says, or an Idempotency-Key.
        Cancellation: fatal.
        Raises:
            LocalProtocolError: ``hedge``: it may not be sent twice; nothing was sent.
        """
        flow = self._flow(method, url, options)
        return await hedge(flow, after_seconds=after_seconds, attempts=attempts, idempotent=idempotent)

    def map(
        self, requests: Iterable[ItemT] | AsyncIterable[ItemT], *, limit: int, fail_fast: bool = False
    ) -> MapContext[ItemT]:
        """Return an async context manager whose value is a ``MapResults``: the answers to many requests, as they come.

        Args:
            requests: URLs, or tuples of method, URL and options; they are taken as there is room for them.
            limit: how many are under way, or answered and not taken, at a time.
            fail_fast: raise the first error, and cancel the rest, instead of giving it out as an outcome.
        """
        return MapContext(self, requests, limit=limit, fail_fast=fail_fast)

    def upgrade(self, protocol: str, url: str | URL, **options: Unpack[RequestOptions]) -> UpgradeContext:
        """Return an async context manager whose value is an ``Upgraded``: the raw stream after 101.

        Args:
            protocol: what to switch to, for the Upgrade field; the request is a GET (RFC 9110 §7.8).
        """
        return UpgradeContext(self._flow("GET", url, options, upgrade=protocol))

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
        timeouts = options.get("timeouts", self.defaults.timeouts)
        check_type("timeouts", timeouts, ClientTimeouts)
        options["timeouts"] = timeouts.replace(total_seconds=math.inf)
        options["headers"] = event_fields(options.get("headers"), last_event_id)
        return EventsContext(EventReceiver(self._flow(method, url, options), settings, last_event_id))

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
        bounds = check_websocket_options(limits, timeouts, compression)
        names = check_subprotocols(subprotocols)
        fields = check_own_fields(Headers(headers if headers is not None else ()), client=True)
        key, own = request_fields(names, compression)
        for name, value in own:
            fields.add(name, value)
        options: RequestOptions = {"headers": fields}
        if params is not None:
            options["params"] = params
        upgrade = UpgradeContext(self._flow("GET", http_url(url), options, upgrade="websocket"))
        return WebSocketContext(upgrade, key, names, compression, bounds)

    def _flow(self, method: str, url: str | URL, options: RequestOptions, *, upgrade: str | None = None) -> Flow:
        if not self._shared.entered:
            raise closed_error()
        return Flow(self, build_request(self.defaults, method, url, options, upgrade=upgrade))

    def make_call(self, request: ClientRequest, total_deadline: float) -> Call:
        """Return what sends one request, for a ``Flow``."""
        shared = self._shared
        destination = shared.routes.destination(
            request.url, proxy=request.proxy, tunnel=request.upgrade, identified=not request.crossed
        )
        pool, dialer, limits = shared.pool, shared.dialer, shared.limits
        return Call(pool, dialer, destination, request, limits, total_deadline, shared.observers)
