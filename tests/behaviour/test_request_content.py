"""Content that is too much, too slow or broken off: what the handler is told, what the peer, and what the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from triohttp import App, Headers, Request, Response, Timeouts
from triohttp.errors import BodyTooLargeError, BodyTruncatedError, DisconnectedError, RemoteProtocolError, TrioHTTPError
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import RawConnection

if TYPE_CHECKING:
    from conftest import Network

MEMORY = ["memory", "tls-memory"]
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
COUNTED = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
BOUND = 1000


class Upload:
    """What came of the content of a request, as an app sees it and as a bare service does."""

    def __init__(self) -> None:
        self.received = b""
        self.error: TrioHTTPError | None = None
        self.over = trio.Event()

    def app(self) -> App:
        """Return an app that notes what it receives."""
        app = App(limits={"max_body_bytes": BOUND})

        @app.post("/")
        async def upload(request: Request) -> Response:
            await self._receive(request.body)
            return Response.text("whole")

        return app

    async def service(self, exchange: Exchange) -> None:
        """Note what comes."""
        exchange.limits = exchange.limits.replace(max_body_bytes=BOUND)
        await self._receive(exchange.content)
        await exchange.respond(ResponseHead(200, Headers()), b"whole")

    async def _receive(self, content: trio.abc.ReceiveStream) -> None:
        try:
            while piece := await content.receive_some():
                self.received += piece
        except TrioHTTPError as exc:
            self.error = exc
            raise
        finally:
            self.over.set()


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Let the access and reject loggers speak."""
    caplog.set_level(logging.INFO, "triohttp")


def rejects(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the reject records of the test so far."""
    return [record.getMessage() for record in caplog.records if record.name == "triohttp.reject"]


async def answer_at_end(raw: RawConnection) -> int:
    """Return the status of the one answer that a connection still gives before it ends."""
    response = await raw.read_response()
    assert response.headers["connection"] == "close"
    assert await raw.read_until_closed() == b""
    return response.status


@pytest.mark.parametrize("kind", ["app", "service"])
@pytest.mark.parametrize(
    ("before", "size_line", "error"),
    [
        (b"", b"3e9\r\n", BodyTooLargeError),
        (b"x" * BOUND, b"1\r\n", BodyTooLargeError),
        (b"hello", b"ffffffffffffffff\r\n", RemoteProtocolError),
    ],
)
async def test_a_chunk_that_would_be_too_much_is_refused_at_its_size(
    network: Network,
    kind: str,
    before: bytes,
    size_line: bytes,
    error: type[TrioHTTPError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """None of its data has to come for the 413; what came before it the handler has had."""
    upload = Upload()
    await network.serve(upload.app() if kind == "app" else upload.service)
    raw = await network.open_raw()
    await raw.send_all(CHUNKED + (b"%x\r\n%b\r\n" % (len(before), before) if before else b""))
    while upload.received != before:
        await trio.testing.wait_all_tasks_blocked()
    await raw.send_all(size_line)
    assert await answer_at_end(raw) == 413
    assert upload.received == before
    assert type(upload.error) is error
    [record] = rejects(caplog)
    assert "slug=body-too-large status=413 " in record


async def test_content_up_to_the_bound_is_taken(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """The bound itself is allowed, in one piece and in chunks, and the connection is kept."""
    upload = Upload()
    await network.serve(upload.app())
    raw = await network.open_raw()
    for request in (
        COUNTED % BOUND + b"x" * BOUND,
        CHUNKED + b"1f4\r\n%b\r\n1f4\r\n%b\r\n0\r\n\r\n" % (b"x" * 500, b"x" * 500),
    ):
        await raw.send_all(request)
        response = await raw.read_response()
        assert (response.status, response.content) == (200, b"whole")
    assert rejects(caplog) == []


@pytest.mark.parametrize("network", ["memory", "tcp"], indirect=True)
async def test_truncated_content_is_on_record_with_its_size(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """The record says how much there was and how much had been announced."""
    upload = Upload()
    await network.serve(upload.app())
    raw = await network.open_raw()
    await raw.send_all(COUNTED % 10 + b"abc")
    await raw.send_eof()
    assert await answer_at_end(raw) == 400
    assert isinstance(upload.error, BodyTruncatedError)
    [record] = rejects(caplog)
    assert "slug=body-truncated status=400 " in record
    assert record.endswith('at=content bytes=3 detail="want=10"')


async def test_a_reset_in_the_content_is_one_line_in_the_log(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler gets DisconnectedError; the access log has the request, and nobody is accused of anything."""
    upload = Upload()
    await network.serve(upload.app())
    raw = await network.open_raw()
    await raw.send_all(COUNTED % 10 + b"abc")
    while not upload.received:
        await trio.testing.wait_all_tasks_blocked()
    raw.reset()
    while network.server.statistics().open_connections:
        await trio.testing.wait_all_tasks_blocked()
    assert type(upload.error) is DisconnectedError
    [record] = caplog.records
    assert (record.name, record.exc_info) == ("triohttp.access", None)
    assert " 0 0 " in record.getMessage()


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_silence_has_its_time_from_the_first_byte_on(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """A pause is no trickle: it may take all of ``body_idle_seconds``, at the beginning too."""
    upload = Upload()
    await network.serve(upload.app(), timeouts=Timeouts(body_idle_seconds=20, rate_grace_seconds=10))
    raw = await network.open_raw()
    start = trio.current_time()
    await raw.send_all(COUNTED % BOUND + b"x")
    assert await answer_at_end(raw) == 408
    assert trio.current_time() - start == pytest.approx(20)
    [record] = rejects(caplog)
    assert "slug=body-idle status=408 " in record


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_a_trickle_is_judged_as_it_comes_in(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """A byte now and then buys no time beyond the grace: the first one after it ends the request."""
    upload = Upload()
    await network.serve(upload.app(), timeouts=Timeouts(body_min_rate=500, rate_grace_seconds=10))
    raw = await network.open_raw()
    start = trio.current_time()
    await raw.send_all(COUNTED % BOUND)
    for _ in range(4):
        await trio.sleep(3)
        await raw.send_all(b"x")
    assert await answer_at_end(raw) == 408
    assert trio.current_time() - start == pytest.approx(12)
    [record] = rejects(caplog)
    assert "slug=body-slow status=408 " in record
