"""Opening a connection: name resolution, TCP, proxy and TLS as one unit.

Rule 1: whatever ends the dial (an error, a deadline, a cancellation) closes everything that it had opened.
Rule 2: errors of the operating system and of TLS are translated here, once, with the reason in the message.
Rule 3: no deadline here: the caller's scope bounds the whole; ``DialObserver`` is told how far it has come.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import trio

from triohttp._connection.connection import Connection, describe
from triohttp._values.limits import ClientLimits
from triohttp._wire.events import Role
from triohttp.errors import ConnectError, ProxyError, TLSError, clip

from .origin import Mounts
from .pool import Destination
from .proxies import Proxy
from .resolve import Resolve, find_address, find_addresses, open_first, open_tcp
from .routes import Routes
from .socks import load_socks
from .tls import check_pin
from .tunnel import open_tunnel

__all__ = ["Connect", "DialObserver", "DialProgress", "Dialer"]


Connect: TypeAlias = "Callable[[str, int], Awaitable[trio.abc.Stream]]"
"""``await connect(host, port)``: any other way to open a stream; TLS and tunnels go on top of it."""


class DialObserver:
    """Told of the steps of a dial, each when it is over; overrides what it wants to hear of. What it raises ends it."""

    __slots__ = ()

    def dial_started(self, destination: Destination) -> None:
        """Nothing has happened yet."""

    def name_resolved(self, addresses: Sequence[str]) -> None:
        """A name was resolved by this program and not by the system or by a proxy."""

    def connected(self, stream: trio.abc.Stream) -> None:
        """There is a stream to the server, or to the proxy in front of it."""

    def tunnel_opened(self, code: int | None) -> None:
        """The proxy leads to the server; ``code`` is the status that an HTTP proxy said so with."""

    def tls_done(self, stream: trio.SSLStream[trio.abc.Stream]) -> None:
        """A handshake is over: with a proxy of the kind ``https``, or with the server."""


_NOBODY: Final = DialObserver()


class DialProgress(DialObserver):
    """Remembers how far a dial has come: for the error of a deadline, which ends all of it alike."""

    __slots__ = ("_connected", "_proxy", "_tunnelled")

    def __init__(self) -> None:
        self._proxy: Proxy | None = None
        self._connected = self._tunnelled = False

    def dial_started(self, destination: Destination) -> None:
        self._proxy = destination.proxy

    def connected(self, stream: trio.abc.Stream) -> None:
        self._connected = True

    def tunnel_opened(self, code: int | None) -> None:
        self._tunnelled = True

    def describe(self) -> str:
        """Return what was being waited for."""
        proxy = self._proxy
        if not self._connected:
            return f"{'the server' if proxy is None else f'the proxy {proxy}'} did not take the connection"
        if proxy is not None and not self._tunnelled:
            return f"the proxy {proxy} opened no way to the server"
        return "the TLS handshake was not over"


class Dialer:
    """Opens connections to destinations.

    Args:
        limits: what the connections take from a server.
        mounts: the destinations that are not on the network.
        routes: whom to trust for the TLS of a proxy.
        pins: the certificates that a host may have, by host.
        connect: instead of TCP.
        resolve: instead of the system's resolver.
        local_address: where TCP connections come from.
    """

    __slots__ = ("_connect", "_limits", "_local_address", "_mounts", "_number", "_pins", "_resolve", "_routes")

    def __init__(
        self,
        limits: ClientLimits,
        mounts: Mounts,
        routes: Routes,
        *,
        pins: Mapping[str, frozenset[str]] | None = None,
        connect: Connect | None = None,
        resolve: Resolve | None = None,
        local_address: str | None = None,
    ) -> None:
        self._limits = limits
        self._mounts = mounts
        self._routes = routes
        self._pins = pins or {}
        self._connect = connect
        self._resolve = resolve
        self._local_address = local_address
        self._number = 0

    async def dial(self, destination: Destination, observe: DialObserver = _NOBODY) -> Connection:
        """Return a new connection to ``destination``.

        Args:
            observe: who is told of its steps.
        Cancellation: atomic; nothing stays open.
        Raises:
            ConnectError: the name has no address, or no address took the connection.
            ProxyError: the proxy opened no way to the server.
            TLSError: the handshake failed, or the certificate is not the one that is pinned.
        """
        observe.dial_started(destination)
        stream = await self._open(destination, observe)
        try:
            observe.connected(stream)
            if destination.proxy is not None:
                stream = await self._through(stream, destination.proxy, destination, observe)
            if destination.tls is not None:
                stream = await self._secured(stream, destination.host, destination.tls, observe)
            self._number += 1
            return Connection.over_stream(stream, Role.CLIENT, self._limits, describe(stream, self._number))
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _secured(
        self, stream: trio.abc.Stream, host: str, context: ssl.SSLContext, observe: DialObserver
    ) -> trio.abc.Stream:
        """Return TLS over ``stream``, with whom it is meant to be; closing ``stream`` is the caller's."""
        secure = await handshake(stream, host, context)
        if (pins := self._pins.get(host)) is not None:
            check_pin(secure.getpeercert(binary_form=True), host, pins)
        observe.tls_done(secure)
        return secure

    async def _open(self, destination: Destination, observe: DialObserver) -> trio.abc.Stream:
        proxy = destination.proxy
        host, port = (destination.host, destination.port) if proxy is None else (proxy.host, proxy.port)
        try:
            if destination.mount:
                return await self._mounts.origin(destination.mount).connect()
            if self._connect is not None:
                return await self._connect(host, port)
            if self._resolve is not None:
                addresses = await find_addresses(self._resolve, host, port)
                observe.name_resolved(addresses)
                return await open_first(addresses, port, self._local_address)
            return await open_tcp(host, port, self._local_address)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:  # the latter two from mounts
            if proxy is not None:
                raise ProxyError(f"cannot connect to the proxy {proxy} for {destination}: {_why(exc)}") from exc
            message = f"cannot connect to {destination}: {_why(exc)}"
            raise ConnectError(message, phase="connect", safe_to_retry=True) from exc

    async def _through(
        self, stream: trio.abc.Stream, proxy: Proxy, destination: Destination, observe: DialObserver
    ) -> trio.abc.Stream:
        """Return a stream to the destination, over one to the proxy; for a proxy that forwards that is the proxy."""
        host, port = destination.host, destination.port
        try:
            if proxy.scheme == "https":
                stream = await self._secured(stream, proxy.host, self._routes.proxy_context(proxy), observe)
            if proxy.is_socks:
                if not proxy.resolves:
                    host = await self._address(host, port)
                    observe.name_resolved([host])
                await load_socks()(stream, host, port, proxy.username, proxy.password)
                observe.tunnel_opened(None)
            elif destination.tunnel:
                stream, code = await open_tunnel(stream, proxy, host, port, self._limits)
                observe.tunnel_opened(code)
        except BaseException:
            await trio.aclose_forcefully(stream)  # a tunnel has taken the socket out of what the caller knows
            raise
        return stream

    async def _address(self, host: str, port: int) -> str:
        """Return an address of a host, for a proxy that is not to resolve names."""
        try:
            return await find_address(self._resolve, host, port)
        except OSError as exc:
            raise ConnectError(f"cannot resolve {clip(host)}: {exc}", phase="connect", safe_to_retry=True) from exc


async def handshake(stream: trio.abc.Stream, host: str, context: ssl.SSLContext) -> trio.SSLStream[trio.abc.Stream]:
    """Return TLS over ``stream``, after its handshake; closing ``stream`` is the caller's.

    ``https_compatible`` because servers close without close_notify: a length or a last chunk says what is complete.

    Raises:
        TLSError: the handshake failed; the message has the reason.
    """
    try:
        secure = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        await secure.do_handshake()
    except trio.BrokenResourceError as exc:
        reason = _reason(exc.__cause__) if exc.__cause__ is not None else "the peer closed the connection"
        raise TLSError(f"the TLS handshake with {host} failed: {reason}", phase="tls", safe_to_retry=True) from exc
    except (ssl.SSLError, ValueError) as exc:  # a context that does not fit: not a client's, no such name
        raise TLSError(f"TLS with {host} cannot begin: {_reason(exc)}", phase="tls", safe_to_retry=True) from exc
    return secure


def _why(exc: Exception) -> str:
    """Return what an error says, and what each attempt said when trio tried several addresses."""
    text = str(exc) or type(exc).__name__
    cause = exc.__cause__
    attempts = cause.exceptions if isinstance(cause, ExceptionGroup) else () if cause is None else (cause,)
    return ": ".join([text, *dict.fromkeys(_reason(attempt) for attempt in attempts)])


def _reason(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message
    if isinstance(exc, ssl.SSLError) and exc.reason == "WRONG_VERSION_NUMBER":
        return "wrong version number; does the server speak TLS on this port?"
    if isinstance(exc, ssl.SSLError) and exc.reason:
        return exc.reason.lower().replace("_", " ")
    return str(exc) or type(exc).__name__
