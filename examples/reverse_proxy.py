"""A streaming reverse proxy: ``python examples/reverse_proxy.py http://127.0.0.1:9000``.

Nothing is collected. Backpressure, cancellation, the deadline and trailers pass from each end to the other.
"""

from __future__ import annotations

import sys

import trio

from triohttp import App, BadGateway, Client, GatewayTimeout, Headers, Request, RequestOptions, serve
from triohttp.errors import ProtocolError, TransportError

HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host"}


def end_to_end(headers: Headers) -> Headers:
    """The fields that are meant for the other end and not for this connection (RFC 9110 §7.6.1)."""
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    return Headers([(n, v) for n, v in headers.field_lines() if n.lower() not in HOP_BY_HOP | named])


def onward(request: Request) -> RequestOptions:
    options: RequestOptions = {"headers": end_to_end(request.headers)}
    if request.content_length != 0:
        options["content"] = request.body
    if request.content_length is None:  # only content whose end is not known can have trailers
        options["trailers"] = lambda: request.trailers or ()
    return options


def make_proxy(client: Client, upstream: str, seconds: float = 60) -> App:
    app = App()

    @app.route("/{path:path}", limits={"max_body_bytes": None})
    async def forward(request: Request) -> None:
        try:
            with trio.fail_after(seconds):
                async with client.stream(request.method, upstream + request.target, **onward(request)) as answer:
                    async with request.respond(answer.status, end_to_end(answer.headers)) as body:
                        async for chunk in answer.body:
                            await body.send_all(chunk)
                        body.trailers = answer.trailers
        except trio.TooSlowError:
            raise GatewayTimeout from None
        except (TransportError, ProtocolError) as error:
            raise BadGateway from error

    return app


async def main(upstream: str) -> None:
    async with Client(redirects=False, cookies=None, decode=False) as client:
        await serve(make_proxy(client, upstream), signals=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1].rstrip("/"))
