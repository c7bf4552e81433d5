"""Opening a connection: name resolution, TCP, proxy and TLS as one unit.

Rule 1: whatever ends the dial (an error, a deadline, a cancellation) closes everything that it had opened.
Rule 2: errors of the operating system and of TLS are translated here, once, with the reason in the message.
Rule 3: no deadline here: the caller's scope bounds the whole.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import trio

from triohttp._connection.connection import Connection, describe
from triohttp._values.limits import ClientLimits
from triohttp._wire.events import Role
from triohttp.errors import ConnectError, TLSError, clip

from .origin import Mounts
from .pool import Destination
from .proxies import Proxy
from .resolve import Resolve, open_first
from .routes import Routes
from .socks import load_socks
from .tls import check_pin
from .tunnel import open_tunnel

__all__ = ["Connect", "Dialer"]


Connect: TypeAlias = "Callable[[str, int], Awaitable[trio.abc.Stream]]"
"""``await connect(host, port)``: any other way to open a stream; TLS and tunnels go on top of it."""


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

    async def dial(self, destination: Destination) -> Connection:
        """Return a new connection to ``destination``.

        Cancellation: atomic; nothing stays open.
        Raises:
            ConnectError: the name has no address, or no address took the connection.
            ProxyError: the proxy opened no way to the server.
            TLSError: the handshake failed, or the certificate is not the one that is pinned.
        """
        stream = await self._open(destination)
        try:
            if destination.proxy is not None:
                stream = await self._through(stream, destination.proxy, destination)
            if destination.tls is not None:
                secure = await handshake(stream, destination.host, destination.tls)
                stream = secure
                if (pins := self._pins.get(destination.host)) is not None:
                    check_pin(secure.getpeercert(binary_form=True), destination.host, pins)
            self._number += 1
            return Connection.over_stream(stream, Role.CLIENT, self._limits, describe(stream, self._number))
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _open(self, destination: Destination) -> trio.abc.Stream:
        proxy = destination.proxy
        host, port = (destination.host, destination.port) if proxy is None else (proxy.host, proxy.port)
        try:
            if destination.mount:
                return await self._mounts.origin(destination.mount).connect()
            if self._connect is not None:
                return await self._connect(host, port)
            if self._resolve is not None:
                return await open_first(await self._resolve(host, port), port, self._local_address)
            return await trio.open_tcp_stream(host, port, local_address=self._local_address)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:  # the latter two from mounts
            where = str(destination) if proxy is None else f"{destination} through {proxy}"
            raise ConnectError(f"cannot connect to {where}: {_why(exc)}", phase="connect", safe_to_retry=True) from exc

    async def _through(self, stream: trio.abc.Stream, proxy: Proxy, destination: Destination) -> trio.abc.Stream:
        """Return a stream to the destination, over one to the proxy; for a proxy that forwards that is the proxy."""
        host, port = destination.host, destination.port
        try:
            if proxy.scheme == "https":
                stream = await handshake(stream, proxy.host, self._routes.proxy_context(proxy))
            if proxy.is_socks:
                if not proxy.resolves:
                    host = await self._address(host, port)
                await load_socks()(stream, host, port, proxy.username, proxy.password)
            elif destination.tunnel:
                stream = await open_tunnel(stream, proxy, host, port, self._limits)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    async def _address(self, host: str, port: int) -> str:
        """Return an address of a host, for a proxy that is not to resolve names."""
        try:
            if self._resolve is not None:
                [address, *_] = await self._resolve(host, port)
                return address
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except (OSError, ValueError) as exc:
            raise ConnectError(f"cannot resolve {clip(host)}: {exc}", phase="connect", safe_to_retry=True) from exc
        return str(found[0][4][0])


async def handshake(stream: trio.abc.Stream, host: str, context: ssl.SSLContext) -> trio.SSLStream[trio.abc.Stream]:
    """Return TLS over ``stream``, after its handshake; ``stream`` is closed when that fails.

    ``https_compatible`` because servers close without close_notify: a length or a last chunk says what is complete.

    Raises:
        TLSError: the handshake failed; the message has the reason.
    """
    try:
        secure = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        await secure.do_handshake()
    except trio.BrokenResourceError as exc:
        await trio.aclose_forcefully(stream)
        reason = _reason(exc.__cause__) if exc.__cause__ is not None else "the peer closed the connection"
        raise TLSError(f"the TLS handshake with {host} failed: {reason}", phase="tls", safe_to_retry=True) from exc
    except BaseException as exc:
        await trio.aclose_forcefully(stream)
        if isinstance(exc, (ssl.SSLError, ValueError)):  # a context that does not fit: not a client's, no such name
            reason = _reason(exc)
            raise TLSError(f"TLS with {host} cannot begin: {reason}", phase="tls", safe_to_retry=True) from exc
        raise
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
