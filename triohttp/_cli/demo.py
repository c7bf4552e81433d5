"""The demo: a small app on the server, called by the client, in one trio program.

Rule 1: public names only: this is also the longest example that there is.
Rule 2: it needs no extra, no file and no network but the loopback one.
Rule 3: whatever goes wrong is one line on standard error and exit status 1.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from importlib.resources import files

import trio

from triohttp import App, Client, Request, Response, Server, open_server

__all__ = ["make_app", "run_demo"]

TICK_SECONDS = 0.1
UPLOAD_CHUNKS = 64
CHUNK = b"triohttp" * 2048
"""16 KiB, so that the demo's upload is 1 MiB."""


def make_app() -> App:
    """Return the demo's app: a page, JSON, an upload that comes back, a slow stream, and a handler that waits."""
    app = App()

    @app.get("/")
    async def page(request: Request) -> Response:
        return Response.html(files(__package__).joinpath("demo_page.html").read_text(encoding="utf-8"))

    @app.get("/hello/{name}")
    async def hello(request: Request) -> Response:
        return Response.json({"hello": request.path_params["name"], "from": f"triohttp {version('triohttp')}"})

    @app.post("/echo", limits={"max_body_bytes": None})
    async def echo(request: Request) -> None:
        """Send every chunk back as it comes: a slow reader slows the sender down, and nothing is collected."""
        async with request.respond(200, {"content-type": "application/octet-stream"}) as body:
            async for chunk in request.body:
                await body.send_all(chunk)

    @app.get("/ticks/{count:int}")
    async def ticks(request: Request) -> None:
        async with request.respond(200, {"content-type": "text/plain"}) as body:
            for number in range(1, min(request.path_params["count"], 100) + 1):
                await body.send_all(b"tick %d\n" % number)
                await trio.sleep(TICK_SECONDS)

    @app.get("/wait")
    async def wait(request: Request) -> Response:
        """Wait for a minute; a client that goes away earlier cancels it."""
        started = trio.current_time()
        try:
            await trio.sleep(60)
        finally:
            print(f"  (the handler of /wait ended after {trio.current_time() - started:.2f} s)")
        return Response.text("you are patient")

    return app


async def call_it(client: Client) -> None:
    """Make one call of each kind and print what came back."""

    async def json() -> str:
        reply = await client.get("/hello/world")
        return f"{reply.status} {reply.json()}"

    async def upload() -> str:
        size = 0
        async with client.stream("POST", "/echo", content=_chunks()) as response:
            async for chunk in response.body:
                size += len(chunk)
        return f"{response.status}, {size:,} bytes came back while they were being sent"

    async def stream() -> str:
        lines = b""
        started = trio.current_time()
        async with client.stream("GET", "/ticks/5") as response:
            async for chunk in response.body:
                lines += chunk
        return f"{response.status}, {lines.count(b'tick')} lines in {trio.current_time() - started:.1f} s"

    async def missing() -> str:
        return f"{(await client.get('/nothing/here')).status}"

    async def wrong_method() -> str:
        reply = await client.delete("/echo")
        return f"{reply.status}, allowed: {reply.headers['allow']}"

    async def give_up() -> str:
        with trio.move_on_after(0.3):
            await client.get("/wait")
        return "no answer in 0.3 s, so the client left, and the server cancelled the handler"

    calls: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("GET /hello/world", json),
        ("POST /echo", upload),
        ("GET /ticks/5", stream),
        ("GET /nothing/here", missing),
        ("DELETE /echo", wrong_method),
        ("GET /wait", give_up),
    ]
    for what, call in calls:
        print(f"  {what:<18} {await call()}")


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(UPLOAD_CHUNKS):
        yield CHUNK


def run_demo(host: str, port: int, *, once: bool) -> int:
    """Serve the demo, call it, and wait for Ctrl-C unless ``once``; return the exit status."""
    try:
        trio.run(_demo, host, port, once)
    except OSError as error:
        print(f"triohttp demo: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


async def _demo(host: str, port: int, once: bool) -> None:
    # The signals are taken before the address is told: whoever reads it may end the demo at once.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_server(make_app(), host, port) as server, trio.open_nursery() as nursery:
            nursery.start_soon(_visit, server, once, nursery.cancel_scope)
            async for _ in signals:
                print("\nDraining …", flush=True)
                nursery.cancel_scope.cancel()
    print("The server has closed.")


async def _visit(server: Server, once: bool, done: trio.CancelScope) -> None:
    url = server.urls[0].rstrip("/")
    print(f"A server in this program, on {url}, called by a client in this program:\n")
    async with Client(base_url=url) as client:
        await call_it(client)
        await trio.sleep(TICK_SECONDS)  # for the line that the cancelled handler prints
        opened, requests = client.pool.statistics().opened, server.statistics().requests
        print(f"\nConnections that the client opened: {opened}. Requests that the server counted: {requests}.\n")
    if once:
        done.cancel()
        return
    print(f"Open {url} in a browser, or try:\n")
    print(f"  curl {url}/hello/you")
    print(f"  curl -N {url}/ticks/20")
    print(f"  curl -T README.md -X POST {url}/echo")
    print("\nCtrl-C ends it.", flush=True)
