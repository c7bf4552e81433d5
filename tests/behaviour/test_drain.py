"""A drain ends what is idle at once, lets what runs end, and is over when its grace is, whoever stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from triohttp import App, Request, Response, Server, Timeouts
from triohttp.testing import RawConnection

if TYPE_CHECKING:
    from conftest import Network

pytestmark = pytest.mark.parametrize("network", ["memory", "tls-memory"], indirect=True)


class Probe:
    """An app whose handlers tell what became of them."""

    def __init__(self) -> None:
        self.app = App()
        self.ended: list[str] = []
        self.app.get("/")(self.index)
        self.app.get("/two-seconds")(self.two_seconds)
        self.app.get("/for-ever")(self.for_ever)
        self.app.get("/cooperative")(self.cooperative)
        self.app.get("/shielded")(self.shielded)
        self.app.get("/big")(self.big)

    async def index(self, request: Request) -> Response:
        return Response.text("here")

    async def two_seconds(self, request: Request) -> Response:
        await trio.sleep(2)
        return Response.text("done")

    async def for_ever(self, request: Request) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append("for ever")
        raise AssertionError

    async def cooperative(self, request: Request) -> None:
        async with request.respond(200) as body:
            await body.send_all(b"begun ")
            await request.wait_draining()
            await body.send_all(b"and ended")

    async def shielded(self, request: Request) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(3, shield=True):
                await trio.sleep(2)
                self.ended.append("cleaned up")
        raise AssertionError

    async def big(self, request: Request) -> Response:
        return Response(b"x" * 10_000_000)


async def ask(network: Network, path: str) -> RawConnection:
    """Send a request and let the server get as far as it gets."""
    raw = await network.open_raw()
    await raw.send_all(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
    await wait_all_tasks_blocked()
    return raw


async def drain(server: Server, grace: float | None = None) -> float:
    """Shut a server down and return the seconds that it took."""
    start = trio.current_time()
    await server.shutdown(grace)
    return trio.current_time() - start


async def test_idle_connections_end_at_once(network: Network) -> None:
    """A connection between two requests, and one before its first, see the end without waiting for any grace."""
    site = await network.serve(Probe().app)
    fresh = await network.open_raw()
    used = await ask(network, "/")
    assert (await used.read_response()).status == 200
    assert await drain(site.server, 60) < 0.1
    assert await used.read_until_closed() == b""
    assert await fresh.read_until_closed() == b""


async def test_running_requests_end_in_their_own_time(network: Network) -> None:
    """The drain takes as long as the answer, which says that the connection closes; then it does."""
    site = await network.serve(Probe().app)
    raw = await ask(network, "/two-seconds")

    async def read() -> None:
        response = await raw.read_response()
        assert (response.status, response.content, response.headers["connection"]) == (200, b"done", "close")
        assert await raw.read_until_closed() == b""
        await raw.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        assert 2 <= await drain(site.server, 60) < 2.1


async def test_what_has_not_ended_by_the_grace_is_cancelled(network: Network) -> None:
    """At the end of the grace handlers are cancelled, their cleanup runs, and the peer sees a cut connection."""
    probe = Probe()
    site = await network.serve(probe.app)
    raw = await ask(network, "/for-ever")
    assert 5 <= await drain(site.server, 5) < 5.1
    assert probe.ended == ["for ever"]
    with pytest.raises(trio.BrokenResourceError):
        await raw.read_until_closed()
    assert raw.received == b""


async def test_the_grace_is_the_servers_unless_said_otherwise(network: Network) -> None:
    """Without a figure of its own, a drain takes at most ``drain_seconds``."""
    site = await network.serve(Probe().app, timeouts=Timeouts(drain_seconds=7))
    await ask(network, "/for-ever")
    assert 7 <= await drain(site.server) < 7.1


async def test_a_second_shutdown_may_shorten_the_first(network: Network) -> None:
    """The earlier of two ends counts, in whichever order they are asked for."""
    site = await network.serve(Probe().app)
    await ask(network, "/for-ever")
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.server.shutdown, 60)
        await trio.sleep(2)
        nursery.start_soon(site.server.shutdown, 3)
        nursery.start_soon(site.server.shutdown, 30)
    assert 5 <= trio.current_time() - start < 5.1


async def test_a_handler_hears_of_the_drain(network: Network) -> None:
    """A stream that listens for the drain ends properly, at once."""
    site = await network.serve(Probe().app)
    raw = await ask(network, "/cooperative")
    assert await drain(site.server, 60) < 0.1
    assert (await raw.read_response()).content == b"begun and ended"


async def test_a_bounded_shield_holds_the_drain_as_long_as_its_bound(network: Network) -> None:
    """Cleanup that a handler shields runs to its end after the grace; the server waits for it."""
    probe = Probe()
    site = await network.serve(probe.app)
    await ask(network, "/shielded")
    assert 3 <= await drain(site.server, 1) < 3.1
    assert probe.ended == ["cleaned up"]


async def test_a_peer_that_does_not_read_does_not_hold_the_drain(network: Network) -> None:
    """A clogged connection ends with the grace."""
    site = await network.serve(Probe().app)
    raw = await ask(network, "/big")
    assert 1 <= await drain(site.server, 1) < 1.5
    with pytest.raises(trio.BrokenResourceError):
        while await raw.receive_some():
            pass


async def test_a_half_sent_head_does_not_hold_the_drain(network: Network) -> None:
    """Who has begun a request but does not go on is given a moment, not the whole grace."""
    site = await network.serve(Probe().app)
    raw = await network.open_raw()
    await raw.send_all(b"GET / HT")
    await wait_all_tasks_blocked()
    assert await drain(site.server, 60) < 1.5


async def test_new_connections_are_refused(network: Network) -> None:
    """From the moment of the drain nobody new is let in, while the old ones still end."""
    site = await network.serve(Probe().app)
    await ask(network, "/two-seconds")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.server.shutdown, 60)
        await trio.sleep(1)
        assert site.server.draining
        assert not site.server.ready
        with pytest.raises(OSError, match="closed"):
            await site.connect()


async def test_the_delay_before_a_drain_still_serves(network: Network) -> None:
    """For load balancers that look away slowly: not ready any more, but serving, until the delay is over."""
    site = await network.serve(Probe().app, timeouts=Timeouts(drain_delay_seconds=5))
    async with trio.open_nursery() as nursery:
        start = trio.current_time()
        nursery.start_soon(site.server.shutdown, 60)
        await trio.sleep(4)
        assert (site.server.ready, site.server.draining) == (False, False)
        raw = await ask(network, "/")
        response = await raw.read_response()
        assert (response.status, response.headers.get("connection")) == (200, None)
    assert 5 <= trio.current_time() - start < 5.1
    assert await raw.read_until_closed() == b""


async def test_a_cancelled_wait_for_the_drain_does_not_stop_it(network: Network) -> None:
    """Whoever gives up waiting leaves the drain going."""
    site = await network.serve(Probe().app)
    raw = await ask(network, "/two-seconds")
    with trio.move_on_after(1) as scope:
        await site.server.shutdown(60)
    assert scope.cancelled_caught
    assert site.server.draining
    assert (await raw.read_response()).status == 200
    assert await raw.read_until_closed() == b""
    await raw.aclose()
    assert await drain(site.server) < 0.1


async def test_a_bad_grace_is_named(network: Network) -> None:
    """A negative grace is refused with its value, and nothing happens."""
    site = await network.serve(Probe().app)
    with pytest.raises(ValueError, match="grace must be at least 0 seconds, not -1"):
        await site.server.shutdown(-1)
    assert site.server.ready
