"""A peer that leaves stops the work that is done for it, in the way that the program chose, on every network."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Request, Response
from triohttp.errors import BodyTruncatedError, DisconnectedError

if TYPE_CHECKING:
    from conftest import Network

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
MEMORY = ["memory", "tls-memory"]


class Handled:
    """What became of a handler."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.ended = trio.Event()
        self.outcome: BaseException | str | None = None

    async def run(self, wait: trio.Event | None = None) -> None:
        """Wait for ever, or for an event, and remember how that ended."""
        self.begun.set()
        try:
            if wait is None:
                await trio.sleep_forever()
            else:
                await wait.wait()
            self.outcome = "finished"
        except BaseException as exc:
            self.outcome = exc
            raise
        finally:
            self.ended.set()


async def test_a_reset_cancels_the_handler(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that waits for something else is cancelled at once; that is nobody's fault and not reported."""
    handled = Handled()
    app = App()

    @app.get("/")
    async def index(request: Request) -> Response:
        await handled.run()
        raise AssertionError

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await handled.begun.wait()
    raw.reset()
    await handled.ended.wait()
    assert isinstance(handled.outcome, trio.Cancelled)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_an_end_of_stream_cancels_after_half_a_second(network: Network) -> None:
    """A peer that has ended its sending may only have half-closed: the handler gets a moment to prove it by writing."""
    handled = Handled()
    app = App()

    @app.get("/")
    async def index(request: Request) -> Response:
        await handled.run()
        raise AssertionError

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await handled.begun.wait()
    await trio.sleep(10)
    start = trio.current_time()
    await raw.send_eof()
    await handled.ended.wait()
    assert isinstance(handled.outcome, trio.Cancelled)
    assert 0.5 <= trio.current_time() - start < 0.7


@pytest.mark.parametrize("network", ["memory", "tcp", "tls-tcp"], indirect=True)
async def test_a_half_closed_client_gets_its_answer(network: Network) -> None:
    """Who ends its sending right after the request still reads the whole answer.

    Not so under TLS in memory: there the end is only heard by reading it, and TLS that has read an end without a
    close_notify sends no more.
    """
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.respond(200) as body:
            for _ in range(4):
                await body.send_all(b"piece ")
                await trio.sleep(0.3)  # longer, all in all, than a silent handler would be given

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await raw.send_eof()
    assert (await raw.read_response()).content == b"piece " * 4
    assert await raw.read_until_closed() == b""


async def test_whoever_reads_content_hears_that_it_ends_too_early(network: Network) -> None:
    """A handler that waits on the peer itself gets an exception there, with what had come and what was announced."""
    caught: list[BaseException] = []
    done = trio.Event()
    app = App()

    @app.post("/")
    async def upload(request: Request) -> Response:
        try:
            await request.read()
        except DisconnectedError as exc:
            caught.append(exc)
            raise
        finally:
            done.set()
        raise AssertionError

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf of it")
    await raw.send_eof()
    await done.wait()
    [error] = caught
    assert isinstance(error, BodyTruncatedError)
    assert (error.received, error.expected) == (10, 100)


async def test_whoever_sends_hears_that_nobody_reads(network: Network) -> None:
    """A handler that waits for its peer to take bytes gets an exception there when the peer is gone.

    Between two sends it is cancelled like everybody else; on a socket a send may be over before anybody has heard.
    """
    caught: list[BaseException] = []
    done = trio.Event()
    app = App()

    @app.get("/")
    async def endless(request: Request) -> None:
        try:
            async with request.respond(200) as body:
                while True:
                    await body.send_all(b"x" * 100_000)
        except BaseException as exc:
            caught.append(exc)
            raise
        finally:
            done.set()

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await raw.receive_some()
    raw.reset()
    await done.wait()
    [error] = caught
    assert isinstance(error, DisconnectedError if network.in_memory else (DisconnectedError, trio.Cancelled))


async def test_a_route_may_finish_what_it_began(network: Network) -> None:
    """``on_disconnect="finish"`` lets a handler end though its peer is gone."""
    handled = Handled()
    wait = trio.Event()
    app = App()

    @app.get("/", on_disconnect="finish")
    async def index(request: Request) -> Response:
        await handled.run(wait)
        return Response.text("to nobody")

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await handled.begun.wait()
    raw.reset()
    with trio.move_on_after(0.3):  # a cancellation would come at once
        await handled.ended.wait()
    wait.set()
    await handled.ended.wait()
    assert handled.outcome == "finished"


async def test_other_connections_do_not_notice(network: Network) -> None:
    """While peers come and leave in every way, the others get their answers."""
    app = App()

    @app.get("/")
    async def index(request: Request) -> Response:
        await trio.sleep(0.01)
        return Response.text("here")

    await network.serve(app)
    client = await network.client()
    for leave in ("reset", "aclose", "send_eof"):
        raw = await network.open_raw()
        await raw.send_all(GET)
        if leave == "reset":
            raw.reset()
        else:
            await getattr(raw, leave)()
        assert (await client.get("/")).status == 200


async def test_a_request_that_came_before_the_end_is_still_answered(network: Network) -> None:
    """Pipelined requests followed by an end of stream are all answered, in order."""
    app = App()

    @app.get("/{number}")
    async def index(request: Request) -> Response:
        return Response.text(str(request.path_params["number"]))

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(5)))
    await raw.send_eof()
    assert [(await raw.read_response()).content for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert await raw.read_until_closed() == b""
