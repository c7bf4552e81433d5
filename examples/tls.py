"""A server over TLS: ``python examples/tls.py cert.pem key.pem``, then ``curl --cacert … https://localhost:8443/``."""

from __future__ import annotations

import ssl
import sys
from functools import partial

import trio

from triohttp import App, Request, Response, serve

app = App()


@app.get("/")
async def index(request: Request) -> Response:
    version = request.tls.version if request.tls else "no TLS"
    return Response.text(f"Hello over {version}!\n")


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


if __name__ == "__main__":
    trio.run(partial(serve, app, "127.0.0.1", 8443, tls=server_context(*sys.argv[1:3])))
