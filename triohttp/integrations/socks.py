"""SOCKS5 by socksio: the way through a proxy of that kind, to names or addresses, with credentials or without.

Needs the extra ``socks``.

Rule 1: each message is read to its exact length and no further: what comes behind it belongs to the server.
Rule 2: no deadline here: the dial as a whole has one.
Source: RFC 1928, RFC 1929.
"""

from __future__ import annotations

import trio

from triohttp.errors import ProxyError, clip

try:
    from socksio import ProtocolError
    from socksio.socks5 import (
        SOCKS5AuthMethod,
        SOCKS5AuthMethodsRequest,
        SOCKS5AuthReply,
        SOCKS5Command,
        SOCKS5CommandRequest,
        SOCKS5Connection,
        SOCKS5ReplyCode,
        SOCKS5UsernamePasswordReply,
        SOCKS5UsernamePasswordRequest,
    )
except ImportError as exc:
    raise ImportError("proxies of the kind SOCKS need socksio: pip install 'triohttp[socks]'") from exc

__all__ = ["negotiate"]

_VERSION = 5
_NAME = 3
_ADDRESS_BYTES = {1: 4, 4: 16}
_WORDS = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "it does not know CONNECT",
    8: "it does not know this kind of address",
}


async def negotiate(stream: trio.abc.Stream, host: str, port: int, username: str = "", password: str = "") -> None:
    """Ask the proxy at the other end of ``stream`` for a connection to ``host``; afterwards the stream leads there.

    Args:
        host: a name, which the proxy resolves, or an address.
        username, password: for a proxy that asks; empty for none.
    Cancellation: fatal to the stream.
    Raises:
        ProxyError: the proxy refused, or does not speak SOCKS5.
    """
    if len(host.encode()) > 255:
        raise ProxyError(f"a SOCKS proxy takes names of at most 255 bytes, not {clip(host)}")
    connection = SOCKS5Connection()
    try:
        methods = [SOCKS5AuthMethod.NO_AUTH_REQUIRED]
        if username or password:
            methods.append(SOCKS5AuthMethod.USERNAME_PASSWORD)
        connection.send(SOCKS5AuthMethodsRequest(methods))
        await stream.send_all(connection.data_to_send())
        answer = await _read(stream, 2)
        _check_version(answer)
        if answer[1:] == SOCKS5AuthMethod.NO_ACCEPTABLE_METHODS:
            raise ProxyError(
                "the SOCKS proxy wants credentials; Proxy(credentials=...) are for it"
                if len(methods) == 1
                else "the SOCKS proxy wants another way to log in than a user name and a password, and none at all"
            )
        chosen = connection.receive_data(answer)
        assert isinstance(chosen, SOCKS5AuthReply)
        if chosen.method not in methods:
            raise ProxyError(f"the proxy does not speak SOCKS5: it chose {chosen.method.name}, which was not offered")
        if chosen.method == SOCKS5AuthMethod.USERNAME_PASSWORD:
            connection.send(SOCKS5UsernamePasswordRequest(username.encode(), password.encode()))
            await stream.send_all(connection.data_to_send())
            verdict = connection.receive_data(await _read(stream, 2))
            assert isinstance(verdict, SOCKS5UsernamePasswordReply)
            if not verdict.success:
                raise ProxyError("the SOCKS proxy does not take these credentials")
        connection.send(SOCKS5CommandRequest.from_address(SOCKS5Command.CONNECT, (host, port)))
        await stream.send_all(connection.data_to_send())
        await _read_reply(stream, host, port)
    except ProtocolError as exc:
        raise ProxyError(f"the proxy does not speak SOCKS5: {exc}") from exc
    except trio.BrokenResourceError as exc:
        raise ProxyError("the SOCKS proxy closed the connection") from exc


async def _read_reply(stream: trio.abc.Stream, host: str, port: int) -> None:
    """Read what the proxy says in the end, to its last byte; the address in it is of no interest."""
    head = await _read(stream, 4)
    _check_version(head)
    if head[1:2] != SOCKS5ReplyCode.SUCCEEDED:  # some close without the rest
        words = _WORDS.get(head[1], f"error {head[1]}, which has no meaning")
        raise ProxyError(f"the SOCKS proxy opened no connection to {clip(host)}:{port}: {words}")
    if head[3] == _NAME:
        [length] = await _read(stream, 1)
    elif head[3] in _ADDRESS_BYTES:
        length = _ADDRESS_BYTES[head[3]]
    else:
        raise ProxyError(f"the proxy does not speak SOCKS5: {head[3]} is no kind of address")
    await _read(stream, length + 2)


def _check_version(answer: bytes) -> None:
    if answer[0] != _VERSION:
        raise ProxyError(f"the proxy does not speak SOCKS5: its answer begins with {answer[:1]!r}")


async def _read(stream: trio.abc.Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        if not piece:
            raise ProxyError("the SOCKS proxy closed the connection")
        data += piece
    return data
