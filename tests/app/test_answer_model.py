"""Whatever a handler does, in any order: the client gets one whole answer or sees it cut, and the server goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from triohttp import App, Handler, NotFound, Request, Response, ResponseBody
from triohttp.testing import open_in_process

Step: TypeAlias = Callable[[Request, ResponseBody | None], Awaitable[Response | None]]


async def send(request: Request, body: ResponseBody | None) -> None:
    if body is not None:
        await body.send_all(b"chunk")


async def flush(request: Request, body: ResponseBody | None) -> None:
    if body is not None:
        await body.flush()


async def close(request: Request, body: ResponseBody | None) -> None:
    if body is not None:
        await body.aclose()


async def send_cancelled(request: Request, body: ResponseBody | None) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await send(request, body)


async def send_whatever_happens(request: Request, body: ResponseBody | None) -> None:
    try:
        await send(request, body)
    except Exception:
        pass


async def inform(request: Request, body: ResponseBody | None) -> None:
    await request.inform(103, {"Link": "</a>"})


async def read(request: Request, body: ResponseBody | None) -> None:
    await request.read()


async def own_again(request: Request, body: ResponseBody | None) -> None:
    async with request.respond(201) as again:
        await again.send_all(b"again")


async def hook(request: Request, body: ResponseBody | None) -> None:
    request.on_head(lambda head: head.headers.add("X-Hook", "1"))


async def failing_hook(request: Request, body: ResponseBody | None) -> None:
    def fails(head: object) -> None:
        raise LookupError("hook")

    request.on_head(fails)


async def fail(request: Request, body: ResponseBody | None) -> None:
    raise ValueError("step")


async def not_found(request: Request, body: ResponseBody | None) -> None:
    raise NotFound


async def plain(request: Request, body: ResponseBody | None) -> Response:
    return Response.text("plain")


async def wrong_length(request: Request, body: ResponseBody | None) -> Response:
    return Response(b"plain", headers={"Content-Length": "7"})


async def streamed(request: Request, body: ResponseBody | None) -> Response:
    return Response.stream(iter([b"a", b"b"]))


STEPS: list[Step] = [
    *(send, flush, close, send_cancelled, send_whatever_happens, inform, read, own_again, hook, failing_hook),
    *(fail, not_found, plain, wrong_length, streamed),
]
steps = st.lists(st.sampled_from(STEPS), max_size=4)


async def take(request: Request, body: ResponseBody | None, chosen: list[Step]) -> Response | None:
    for step in chosen:
        response = await step(request, body)
        if response is not None:
            return response
    return None


@given(
    before=steps,
    owns=st.booleans(),
    length=st.sampled_from([None, None, 0, 5]),
    inside=steps,
    after=steps,
    catches=st.booleans(),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_a_request_has_one_answer(
    before: list[Step],
    owns: bool,
    length: int | None,
    inside: list[Step],
    after: list[Step],
    catches: bool,
    method: str,
) -> None:
    """The bytes parse as one response or end too early; after a whole one the next request is answered as usual."""
    app = App()

    @app.route("/", methods=["GET", "POST"])
    async def handler(request: Request) -> Response | None:
        response = await take(request, None, before)
        if response is None and owns:
            headers = {} if length is None else {"Content-Length": str(length)}
            async with request.respond(200, headers) as body:
                await take(request, body, inside)
        return response or await take(request, None, after)

    @app.get("/next")
    async def following(request: Request) -> Response:
        return Response.text("next")

    if catches:

        @app.middleware
        async def pages(request: Request, handler: Handler) -> Response:
            try:
                return await handler(request)
            except ValueError:
                return Response.text("caught", status=500)

    async def main() -> None:
        async with open_in_process(app, raise_handler_errors=False) as server, await server.open_raw() as raw:
            content = b"Content-Length: 5\r\n\r\nhello" if method == "POST" else b"\r\n"
            await raw.send_all(f"{method} / HTTP/1.1\r\nHost: a\r\n".encode() + content)
            with trio.fail_after(60):
                try:
                    response = await raw.read_response(method)
                    assert response.status in (200, 201, 404, 500)
                    if response.headers.get("connection") != "close":
                        await raw.send_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
                        assert (await raw.read_response()).content == b"next"
                except trio.BrokenResourceError:
                    # Cut; a head that says that no content follows is a whole answer before that.
                    assert owns or own_again in [*before, *after]
            async with await server.open_raw() as other:
                await other.send_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await other.read_response()).content == b"next"

    trio.run(main, clock=MockClock(autojump_threshold=0))
