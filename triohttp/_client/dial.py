"""Opening a connection: name resolution, TCP and TLS as one unit.

Rule 1: whatever ends the dial (an error, a deadline, a cancellation) closes everything that it had opened.
Rule 2: errors of the operating system and of TLS are translated here, once, with the reason in the message.
Rule 3: no deadline here: the caller's scope bounds the whole.
"""

from __future__ import annotations

import ssl

import trio

from triohttp._connection.connection import Connection, describe
from triohttp._values.limits import ClientLimits
from triohttp._wire.events import Role
from triohttp.errors import ConnectError, TLSError

from .origin import Mounts
from .pool import Destination

__all__ = ["Dialer"]


class Dialer:
    """Opens connections to destinations.

    Args:
        limits: what the connections take from a server.
        mounts: the destinations that are not on the network.
    """

    __slots__ = ("_limits", "_mounts", "_number")

    def __init__(self, limits: ClientLimits, mounts: Mounts) -> None:
        self._limits = limits
        self._mounts = mounts
        self._number = 0

    async def dial(self, destination: Destination) -> Connection:
        """Return a new connection to ``destination``.

        Cancellation: atomic; nothing stays open.
        Raises:
            ConnectError: the name has no address, or no address took the connection.
            TLSError: the handshake failed.
        """
        stream = await self._open(destination)
        if destination.tls is not None:
            stream = await handshake(stream, destination.host, destination.tls)
        try:
            self._number += 1
            return Connection.over_stream(stream, Role.CLIENT, self._limits, describe(stream, self._number))
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _open(self, destination: Destination) -> trio.abc.Stream:
        try:
            if destination.mount:
                return await self._mounts.origin(destination.mount).connect()
            return await trio.open_tcp_stream(destination.host, destination.port)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:  # the latter two from mounts
            message = f"cannot connect to {destination}: {_why(exc)}"
            raise ConnectError(message, phase="connect", safe_to_retry=True) from exc


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
