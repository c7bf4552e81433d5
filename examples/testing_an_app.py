"""An app and its tests: ``pytest -o trio_mode=true examples/testing_an_app.py``.

No sockets are opened and no second passes: client and server talk through memory, on a virtual clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from triohttp import App, Client, Request, Response
from triohttp.testing import InProcessServer, open_in_process

ClientFor = Callable[[App], Awaitable[Client]]
ServerFor = Callable[[App], Awaitable[InProcessServer]]

app = App()


@app.get("/sum/{a:int}/{b:int}")
async def add(request: Request) -> Response:
    return Response.json({"sum": request.path_params["a"] + request.path_params["b"]})


@app.get("/countdown")
async def countdown(request: Request) -> None:
    async with request.respond(200, {"content-type": "text/plain"}) as body:
        for number in (3, 2, 1):
            await body.send_all(b"%d\n" % number)
            await trio.sleep(1)


async def test_two_numbers_are_added(triohttp_client: ClientFor) -> None:
    """The client fixture calls an app in memory."""
    client = await triohttp_client(app)
    assert (await client.get("/sum/20/22")).json() == {"sum": 42}
    assert (await client.get("/sum/20/many")).status == 404


async def test_the_countdown_takes_three_seconds(triohttp_client: ClientFor, autojump_clock: trio.abc.Clock) -> None:
    """With ``autojump_clock`` time passes only where somebody waits for it."""
    client = await triohttp_client(app)
    started = trio.current_time()
    assert (await client.get("/countdown")).text == "3\n2\n1\n"
    assert trio.current_time() - started == 3


async def test_a_slow_request_head_is_answered(triohttp_server: ServerFor, autojump_clock: trio.abc.Clock) -> None:
    """The server fixture also gives raw access to the wire."""
    server = await triohttp_server(app)
    raw = await server.open_raw()
    await raw.send_all(b"GET /sum/1/2 HTTP/1.1\r\nHo")
    assert (await raw.read_response()).status == 408


async def test_without_fixtures() -> None:
    """The fixtures are made of context managers, which need no pytest."""
    async with open_in_process(app) as origin, Client(mounts={"http://app.test": origin}) as client:
        assert (await client.get("http://app.test/sum/1/2")).json() == {"sum": 3}
