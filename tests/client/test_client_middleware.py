"""Middleware and observers of a client: what programs put around calls and hops, and what they hear of."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from triohttp import (
    App,
    Client,
    ClientAnswer,
    ClientMiddleware,
    ClientObserver,
    ClientRequest,
    ClientResponse,
    ClientResponseStream,
    DigestAuth,
    Headers,
    Request,
    Response,
    Send,
)
from triohttp.errors import ConnectError
from triohttp.testing import RawConnection, open_in_process, open_scripted

HOME = "http://app.test"


def make_app() -> App:
    app = App()

    @app.get("/moved")
    async def moved(request: Request) -> Response:
        return Response.redirect("/here", status=302)

    @app.get("/here")
    async def here(request: Request) -> Response:
        return Response.text(request.headers.get("x-from", "nobody"))

    @app.post("/upload")
    async def upload(request: Request) -> Response:
        return Response.text(str(len(await request.read())))

    return app


@asynccontextmanager
async def open_client(**options: Any) -> AsyncIterator[Client]:
    async with open_in_process(make_app()) as site, Client(HOME, mounts={HOME: site}, **options) as client:
        yield client


def noting(name: str, notes: list[str]) -> ClientMiddleware:
    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        notes.append(f"{name} > {request.url.path}")
        answer = await send(request)
        notes.append(f"{name} < {answer.status}")
        return answer

    return middleware


async def test_order_of_middleware() -> None:
    """Around the call once, around each hop anew; the first is the outermost, a derived client's are inside."""
    notes: list[str] = []
    async with open_client(
        middleware=[noting("a", notes), noting("b", notes)], hop_middleware=[noting("h", notes)]
    ) as client:
        await client.derive(middleware=[noting("c", notes)]).get("/moved")
    assert notes == [
        "a > /moved", "b > /moved", "c > /moved", "h > /moved", "h < 302", "h > /here", "h < 200", "c < 200", "b < 200",
        "a < 200",
    ]  # fmt: skip


async def test_middleware_may_change_a_request_and_an_answer() -> None:
    """What it puts into a copy goes out; what it returns is what the caller gets; the request itself is as it was."""

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        changed = request.copy()
        changed.headers["X-From"] = "middleware"
        answer = await send(changed)
        assert isinstance(answer, ClientResponse)
        return ClientResponse(request, 201, {"X-Was": str(answer.status)}, answer.content.upper())

    async with open_client(middleware=[middleware]) as client:
        response = await client.get("/here")
        assert (response.status, response.text, response.headers["x-was"]) == (201, "MIDDLEWARE", "200")
        assert "x-from" not in response.request.headers


async def test_middleware_may_stand_in_for_the_server() -> None:
    """Nothing is sent; a stream of what it made can be read like any other."""

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        return ClientResponse(request, 200, {"Content-Type": "text/plain"}, b"one\ntwo\n", trailers=Headers({"T": "1"}))

    async with open_client(middleware=[middleware]) as client:
        assert (await client.get("/here")).text == "one\ntwo\n"
        async with client.stream("GET", "/here") as response:
            assert isinstance(response, ClientResponseStream)
            assert response.length == 8
            assert [line async for line in response.lines()] == ["one", "two"]
            assert response.trailers == Headers({"T": "1"})
        assert client.pool.statistics().opened == 0


async def test_middleware_may_send_again() -> None:
    """The second answer is the call's; in a stream the first is given up, and its connection used again."""
    sent: list[int] = []

    async def twice(request: ClientRequest, send: Send) -> ClientAnswer:
        sent.append((await send(request)).status)
        with trio.move_on_after(5):  # a scope that is left before the answer is
            return await send(request)
        raise AssertionError

    async with open_client(middleware=[twice]) as client:
        assert (await client.get("/here")).text == "nobody"
        async with client.stream("GET", "/here") as response:
            assert await response.text() == "nobody"
        async with client.stream("POST", "/upload", content=b"x" * 100_000) as response:
            assert await response.text() == "100000"
        statistics = client.pool.statistics()
        assert (statistics.in_use, statistics.opened) == (0, 1)
    assert sent == [200, 200, 200]


@pytest.mark.parametrize("where", ["middleware", "hop_middleware"])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_middleware_raises_ends_the_call(where: str, stream: bool) -> None:
    """As it is, before or after sending; no connection is lost."""

    async def before(request: ClientRequest, send: Send) -> ClientAnswer:
        raise KeyError("before")

    async def after(request: ClientRequest, send: Send) -> ClientAnswer:
        await send(request)
        raise KeyError("after")

    for middleware in (before, after):
        async with open_client(**{where: [middleware]}) as client:
            with pytest.raises(KeyError, match=middleware.__name__):
                if stream:
                    await client.stream("GET", "/here").__aenter__()
                else:
                    await client.get("/here")
            assert client.pool.statistics().in_use == 0


async def test_middleware_that_returns_something_else_is_named() -> None:
    """The error says who, and what."""

    async def forgetful(request: ClientRequest, send: Send) -> ClientAnswer:
        await send(request)
        return None  # type: ignore[return-value]  # what is tested

    async with open_client(middleware=[forgetful]) as client:
        with pytest.raises(TypeError, match=r"forgetful must return an answer, not None"):
            await client.get("/here")
    with pytest.raises(TypeError, match="middleware must be functions"):
        Client(middleware=[5])  # type: ignore[list-item]  # what is tested


class Noting(ClientObserver):
    """Notes everything."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.raw = bytearray()
        self.content = bytearray()

    def dial_started(self, request: ClientRequest, destination: str) -> None:
        self.notes.append(f"dial {destination}")

    def connected(self, request: ClientRequest, connection: Any) -> None:
        self.notes.append("connected")

    def request_sent(self, request: ClientRequest) -> None:
        self.notes.append(f"sent {request.url.path}")

    def head_received(self, request: ClientRequest, status: int, headers: Headers) -> None:
        self.notes.append(f"head {status}")

    def bytes_received(self, request: ClientRequest, data: bytes) -> None:
        self.raw += data

    def content_received(self, request: ClientRequest, data: bytes) -> None:
        self.content += data

    def released(self, request: ClientRequest, *, reusable: bool) -> None:
        self.notes.append(f"released {reusable}")


async def test_observers_hear_of_everything_in_order() -> None:
    """Over a redirect: one dial, then each exchange with its request, head and end."""
    observer = Noting()
    async with open_client(observers=[observer]) as client:
        await client.get("/moved")
    assert observer.notes == [
        f"dial {HOME}:80", "connected", "sent /moved", "head 302", "released True",
        "sent /here", "head 200", "released True",
    ]  # fmt: skip


async def test_bytes_are_as_they_came_and_content_is_without_framing() -> None:
    """Raw bytes together are the answer on the wire; content is what the chunks hold."""
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    observer = Noting()

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        for start in range(0, len(wire), 7):
            await raw.send_all(wire[start : start + 7])
        await raw.read_request()
        await raw.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with open_scripted(script) as server:
        async with Client(server.url, mounts={server.url: server}, observers=[observer]) as client:
            assert (await client.get("/")).content == b"abcde"
            assert bytes(observer.raw) == wire
            assert bytes(observer.content) == b"abcde"
            await client.get("/")
            assert observer.raw.endswith(b"204 No Content\r\n\r\n")


async def test_content_that_comes_with_its_head_is_heard_of() -> None:
    """Once, and after the head, although nobody has to wait for it."""
    observer = Noting()
    seen: list[bytes] = []
    observer.head_received = lambda *_: seen.append(bytes(observer.content))  # type: ignore[method-assign]

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        await raw.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde")

    async with open_scripted(script) as server:
        async with Client(server.url, mounts={server.url: server}, observers=[observer]) as client:
            assert (await client.get("/")).content == b"abcde"
    assert seen == [b""]
    assert bytes(observer.content) == b"abcde"


async def test_an_upload_is_sent_when_all_of_it_is() -> None:
    """Streamed content counts as sent after its last piece."""
    observer = Noting()
    async with open_client(observers=[observer]) as client:
        reply = await client.post("/upload", content=[b"a" * 1000] * 10)
        assert reply.text == "10000"
    assert observer.notes[-3:] == ["sent /upload", "head 200", "released True"]


@pytest.mark.parametrize("event", ["dial_started", "connected", "request_sent", "head_received", "bytes_received"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_an_observer_raises_ends_the_call(event: str, streamed: bool) -> None:
    """As an error of the exchange would: the slot is free afterwards, and the next call works."""
    fail = True

    class Failing(ClientObserver):
        pass

    def failing(self: Failing, *args: object) -> None:
        if fail:
            raise KeyError(event)

    setattr(Failing, event, failing)
    async with open_client(observers=[Failing()]) as client:
        with pytest.raises(KeyError, match=event):
            await client.post("/upload", content=[b"x"] if streamed else b"x")
        assert client.pool.statistics().in_use == 0
        fail = False
        assert (await client.get("/here")).status == 200


async def test_what_fails_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The connection is given back by then: the answer is not lost."""

    class Failing(ClientObserver):
        def released(self, request: ClientRequest, *, reusable: bool) -> None:
            raise KeyError("late")

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        await raw.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with open_scripted(script) as server:
        async with Client(server.url, mounts={server.url: server}, observers=[Failing()]) as client:
            assert (await client.get("/here")).status == 204
    assert re.search("an observer failed when GET .* was over", caplog.text)


async def test_a_dial_that_fails_is_an_end_without_a_connection() -> None:
    """There was none to release."""
    observer = Noting()
    async with Client(observers=[observer], mounts_only=True) as client:
        with pytest.raises(ConnectError):
            await client.get("http://elsewhere.test/")
    assert observer.notes == []
    with pytest.raises(TypeError, match="an observer must be a ClientObserver"):
        Client(observers=[5])  # type: ignore[list-item]  # what is tested


async def test_a_task_of_the_client_that_fails_ends_its_block() -> None:
    """The block is cancelled and raises the task's own error; no group of ours comes out."""

    async def fail() -> None:
        await trio.sleep(0)
        raise KeyError("background")

    with pytest.raises(KeyError, match="background"):
        async with open_client() as client:
            client.nursery.start_soon(fail)
            await trio.sleep_forever()


async def test_what_a_block_raises_is_its_own() -> None:
    """An exception, a group of the user's, and a cancellation leave the block of a client as they were."""
    own = ExceptionGroup("mine", [KeyError(1), KeyError(2)])
    for raised in (KeyError(0), own):
        with pytest.raises(type(raised)) as caught:
            async with open_client():
                raise raised
        assert caught.value is raised
    with trio.move_on_after(0) as scope:
        async with open_client():
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_what_was_given_for_one_origin_stays_there() -> None:
    """Middleware that sends a request elsewhere takes no credentials and no cookies of the call along."""
    seen: list[str] = []

    async def elsewhere(request: ClientRequest, send: Send) -> ClientAnswer:
        other = request.copy()
        other.url = other.url.replace(host="other.test")
        return await send(other)

    async def script(raw: RawConnection) -> None:
        await raw.read_request()
        seen.append(bytes(raw.received).decode().lower())
        await raw.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with open_scripted(script) as server:
        mounts = {HOME: server, "http://other.test": server}
        async with Client(HOME, mounts=mounts, auth=("u", "p"), middleware=[elsewhere]) as client:
            await client.get("/", cookies={"own": "1"})
            await client.get("/", auth=("u", "p"))
    assert len(seen) == 2
    assert not [one for one in seen if "authorization" in one or "cookie" in one]


async def test_a_function_for_auth_may_give_large_content() -> None:
    """Its upload needs a task, which the block of a stream has room for."""

    def sign(request: ClientRequest) -> None:
        request.content = b"y" * 100_000

    async with open_client() as client, client.stream("POST", "/upload", content=b"x", auth=sign) as response:
        assert await response.text() == "100000"


async def test_a_challenge_to_content_that_can_be_read_once() -> None:
    """It cannot be sent again, so the 401 is the answer; what can be read again is sent again."""
    app = App()

    @app.post("/")
    async def handler(request: Request) -> Response:
        await request.read()
        if "authorization" in request.headers:
            return Response.text("in")
        challenge = 'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"'
        return Response(status=401, headers={"WWW-Authenticate": challenge})

    async with open_in_process(app) as site, Client(HOME, mounts={HOME: site}) as client:
        once = await client.post("/", content=(b"x" for _ in range(3)), auth=DigestAuth("u", "p"))
        again = await client.post("/", content=[b"x"] * 3, auth=DigestAuth("u", "p"))
        assert (once.status, again.status) == (401, 200)


async def test_an_observer_that_fails_in_a_stream_ends_it() -> None:
    """What it did not hear is not silently missing from what is read next."""

    class Failing(ClientObserver):
        def content_received(self, request: ClientRequest, data: bytes) -> None:
            raise KeyError("content")

    async with open_client(observers=[Failing()]) as client:
        with pytest.raises(KeyError, match="content"):
            async with client.stream("GET", "/here") as response:
                await response.read()
        assert client.pool.statistics().connections == 0
