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
        SOCKS5Reply,
        SOCKS5ReplyCode,
        SOCKS5UsernamePasswordReply,
        SOCKS5UsernamePasswordRequest,
    )
except ImportError as exc:
    raise ImportError("proxies of the kind SOCKS need socksio: pip install 'triohttp[socks]'") from exc

__all__ = ["negotiate"]

_ADDRESS_BYTES = {1: 4, 4: 16}
_WORDS = {
    SOCKS5ReplyCode.GENERAL_SERVER_FAILURE: "general failure",
    SOCKS5ReplyCode.CONNECTION_NOT_ALLOWED_BY_RULESET: "not allowed by its rules",
    SOCKS5ReplyCode.NETWORK_UNREACHABLE: "network unreachable",
    SOCKS5ReplyCode.HOST_UNREACHABLE: "host unreachable",
    SOCKS5ReplyCode.CONNECTION_REFUSED: "connection refused",
    SOCKS5ReplyCode.TTL_EXPIRED: "time to live expired",
    SOCKS5ReplyCode.COMMAND_NOT_SUPPORTED: "it does not know CONNECT",
    SOCKS5ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: "it does not know this kind of address",
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
        chosen = connection.receive_data(await _read(stream, 2))
        assert isinstance(chosen, SOCKS5AuthReply)
        if chosen.method not in methods:
            needs = "credentials that it was not given" if len(methods) == 1 else "another way to log in"
            raise ProxyError(f"the SOCKS proxy wants {needs}")
        if chosen.method == SOCKS5AuthMethod.USERNAME_PASSWORD:
            connection.send(SOCKS5UsernamePasswordRequest(username.encode(), password.encode()))
            await stream.send_all(connection.data_to_send())
            verdict = connection.receive_data(await _read(stream, 2))
            assert isinstance(verdict, SOCKS5UsernamePasswordReply)
            if not verdict.success:
                raise ProxyError("the SOCKS proxy does not take these credentials")
        connection.send(SOCKS5CommandRequest.from_address(SOCKS5Command.CONNECT, (host, port)))
        await stream.send_all(connection.data_to_send())
        reply = connection.receive_data(await _read_reply(stream))
        assert isinstance(reply, SOCKS5Reply)
        if reply.reply_code != SOCKS5ReplyCode.SUCCEEDED:
            raise ProxyError(f"the SOCKS proxy opened no connection: {_WORDS[reply.reply_code]}")
    except (ProtocolError, ValueError, IndexError) as exc:
        raise ProxyError(f"the proxy does not speak SOCKS5: {exc}") from exc
    except trio.BrokenResourceError as exc:
        raise ProxyError("the SOCKS proxy closed the connection") from exc


async def _read_reply(stream: trio.abc.Stream) -> bytes:
    head = await _read(stream, 4)
    if head[0] != 5:
        raise ProxyError(f"the proxy does not speak SOCKS5: its reply begins with {head[:1]!r}")
    if head[3] == 3:
        length = await _read(stream, 1)
        return head + length + await _read(stream, length[0] + 2)
    if head[3] not in _ADDRESS_BYTES:
        raise ProxyError(f"the proxy does not speak SOCKS5: {head[3]} is no kind of address")
    return head + await _read(stream, _ADDRESS_BYTES[head[3]] + 2)


async def _read(stream: trio.abc.Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        if not piece:
            raise ProxyError("the SOCKS proxy closed the connection")
        data += piece
    return data
