"""What a type checker knows of the public names; ``just types`` checks this file, nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import assert_type

import trio

from triohttp import (
    App,
    BearerAuth,
    Certificate,
    Client,
    ClientAnswer,
    ClientRequest,
    ClientResponse,
    ClientResponseStream,
    CookieJar,
    Event,
    EventReceiver,
    EventSender,
    Handler,
    Headers,
    Limits,
    Middleware,
    Request,
    RequestBody,
    Response,
    ResponseBody,
    Send,
    Server,
    ServerStatistics,
    StateKey,
    SyncClient,
    open_server,
    retry,
    serve,
)
from triohttp.errors import TrioHTTPError
from triohttp.lowlevel import Address, Exchange, ResponseHead, TLSInfo
from triohttp.testing import InProcessServer, RawConnection, RawResponse, open_in_process

COUNT: StateKey[int] = StateKey("count")


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    app.state[COUNT] = 0
    yield


app = App(lifespan=lifespan)


@app.get("/{name}", limits={"max_body_bytes": None}, timeouts={"handler_seconds": 3}, on_disconnect="finish")
async def handler(request: Request) -> Response:
    assert_type(request.app.state[COUNT], int)
    assert_type(request.headers.get("accept"), str | None)
    assert_type(request.query.get_all("q"), list[str])
    assert_type(request.peer, Address)
    assert_type(request.tls, TLSInfo | None)
    assert_type(request.body, RequestBody)
    assert_type(await request.read(), bytes)
    assert_type(await request.text(), str)
    assert_type(await request.json(), object)
    return Response.text("", status=201)


@app.post("/")
async def owner(request: Request) -> None:
    async with request.respond(200, {"a": "b"}) as body:
        assert_type(body, ResponseBody)
        await body.send_all(b"")


@app.get("/events")
async def events(request: Request) -> Response:
    assert_type(request.last_event_id, str | None)
    async with request.events(retry_ms=500, overflow="drop_oldest", headers={"a": "b"}) as events:
        assert_type(events, EventSender)
        channel: trio.abc.SendChannel[Event] = events
        await channel.send(Event("a", type="b"))
        await events.send("a")
        return Response()
    return Response.events(trio.open_memory_channel[Event](1)[1], heartbeat_seconds=3)


def middleware(name: str) -> Middleware:
    async def around(request: Request, handler: Handler) -> Response:
        response = await handler(request)
        assert_type(response, Response)
        response.headers[name] = "yes"
        return response

    return around


async def service(exchange: Exchange) -> None:
    await exchange.respond(ResponseHead(200, Headers()), b"")


async def serving() -> None:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(serve, app, "127.0.0.1", 0)
        assert_type(server.urls, list[str])
        assert_type(server.statistics(), ServerStatistics)
        await server.shutdown(grace=1)
    async with open_server(service, limits=Limits(max_body_bytes=None)) as other:
        assert_type(other, Server)


async def calling() -> None:
    async with Client("http://a.test", headers=[("a", "b")]) as client:
        assert_type(client, Client)
        assert_type(await client.get("/", params={"q": [1, 2]}), ClientResponse)
        async with client.stream("POST", "/", content=[b""]) as response:
            assert_type(response, ClientResponseStream)
            assert_type(await response.read(), bytes)
            assert_type([event async for event in response.events()], list[Event])
        async with client.events("/", method="POST", json={}, reconnect=True) as events:
            assert_type(events, EventReceiver)
            channel: trio.abc.ReceiveChannel[Event] = events
            assert_type((await channel.receive()).data, str)
            assert_type(events.response, ClientResponseStream)


async def testing() -> None:
    async with open_in_process(app) as server:
        assert_type(server, InProcessServer)
        raw = await server.open_raw()
        assert_type(raw, RawConnection)
        assert_type(await raw.read_response(), RawResponse)


async def client_options(client: Client, request: ClientRequest, send: Send) -> None:
    assert_type(await client.hedge("GET", "/", after_seconds=1), ClientResponse)
    async with client.map(["/a", "/b"], limit=2) as results:
        async for url, outcome in results:
            assert_type(url, str)
            assert_type(outcome, ClientResponse | TrioHTTPError)
    reply = await client.get("/", auth=("u", "p"), redirects=False, cookies={"a": "b"})
    assert_type(reply.history, tuple[ClientResponse, ...])
    assert_type(await send(request), ClientAnswer)
    derived = client.derive(middleware=[retry(2)], cookies=CookieJar(), auth={"https://h": BearerAuth("t")})
    assert_type(derived, Client)


def without_trio() -> None:
    with SyncClient(proxies={"https": None}, certificate=Certificate("c.pem")) as client:
        assert_type(client.get("/", timeout=5), ClientResponse)
        with client.stream("GET", "/") as response:
            assert_type(response.read(), bytes)
