"""CONNECT: a tunnel through an HTTP proxy.

Rule 1: the project's own wire speaks to the proxy, with the same bounds as to any server.
Rule 2: between the proxy's 2xx and the first byte of ours nothing may come: it would be taken for the server's.
Source: RFC 9110 §9.3.6.
"""

from __future__ import annotations

import trio

from triohttp._connection.client_exchange import ClientExchange
from triohttp._connection.connection import Connection, describe
from triohttp._values.authority import bracketed
from triohttp._values.headers import Headers
from triohttp._values.limits import ClientLimits
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._values.status import reason_phrase
from triohttp._wire.events import Role
from triohttp.errors import DisconnectedError, ProxyError, RemoteProtocolError, TrioHTTPError, clip

from .proxies import Proxy

__all__ = ["open_tunnel"]

ERROR_BYTES = 64 * 1024
ERROR_SECONDS = 1.0
"""Content of a refusal that its error keeps, and how long is waited for it: its status is what counts."""


async def open_tunnel(
    stream: trio.abc.Stream, proxy: Proxy, host: str, port: int, limits: ClientLimits
) -> tuple[trio.abc.HalfCloseableStream, int]:
    """Return a stream to ``host`` through the proxy at the other end of ``stream``, and the status that opened it.

    Cancellation: fatal; ``stream`` is closed then, and when an error is raised.
    Raises:
        ProxyError: the proxy refused, or its answer is no HTTP.
    """
    authority = f"{bracketed(host)}:{port}"
    headers = Headers([(b"Host", authority.encode("ascii")), *proxy.fields])
    connection = Connection.over_stream(stream, Role.CLIENT, limits, describe(stream, 0))
    try:
        exchange = ClientExchange(connection, limits)
        try:
            await exchange.request(RequestHead("CONNECT", authority, headers, "http", authority))
            head = await exchange.receive_head()
            if not 200 <= head.status < 300:
                raise await _refusal(exchange, head, proxy, authority)
        except (DisconnectedError, RemoteProtocolError) as exc:
            raise ProxyError(f"the proxy {proxy} opened no tunnel to {authority}: {exc}") from exc
        if early := connection.wire.buffered:
            raise ProxyError(f"the proxy {proxy} sent {len(early)} bytes before its tunnel was used: {clip(early)}")
        return exchange.take_over(), head.status
    except BaseException:
        connection.abort()
        raise


async def _refusal(exchange: ClientExchange, head: ResponseHead, proxy: Proxy, authority: str) -> ProxyError:
    content = b""
    try:
        with trio.move_on_after(ERROR_SECONDS):
            body = exchange.content
            while len(content) < ERROR_BYTES and (piece := await body.receive_some(ERROR_BYTES - len(content))):
                content += piece
    except TrioHTTPError:
        pass  # what is broken after the status is no news
    message = f"the proxy {proxy} refused a tunnel to {authority}: {head.status} {reason_phrase(head.status)}"
    if head.status == 407:
        message += "; Proxy(credentials=...) are for it" if not proxy.username else "; it does not take its credentials"
    first_line = content.decode("utf-8", "replace").strip().partition("\n")[0]
    if first_line:
        message += f": {clip(first_line)}"
    return ProxyError(message, code=head.status, content=content)
