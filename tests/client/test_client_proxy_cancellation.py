"""Cancelling on the way through a proxy: no slot is lost, no stream stays open, and the next request is right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
import trio
from proxying import OK, HttpProxy, Network, SocksProxy, relay

from triohttp import URL, Client, ClientLimits, Proxy
from triohttp._client.dial import Connect, DialObserver
from triohttp._client.pool import Destination
from triohttp.testing import CertificateAuthority, RawConnection, ScriptedServer, SweepRun, cancel_sweep, open_scripted

SERVER = "https://scripted.test/"
PLAIN = "http://plain.test/"


async def answer(connection: RawConnection) -> None:
    """Answer everything."""
    while True:
        await connection.read_request()
        await connection.send_all(OK)


@asynccontextmanager
async def open_tcp(front: ScriptedServer) -> AsyncIterator[Connect]:
    """Have ``front`` on a port of this machine as well; the value opens connections to it, whatever is asked for."""

    async def carry(stream: trio.abc.Stream) -> None:
        await relay(stream, await front.connect())
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, carry, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]

        async def connect(host: str, asked: int) -> trio.abc.Stream:
            return await trio.open_tcp_stream("127.0.0.1", port)

        yield connect
        nursery.cancel_scope.cancel()


@pytest.mark.sweep
@pytest.mark.wall_seconds(120)
@pytest.mark.parametrize("over_tcp", [False, True], ids=["memory", "tcp"])
@pytest.mark.parametrize("way", ["forward", "forward over tls", "connect", "connect over tls", "socks", "socks login"])
def test_cancelling_on_the_way_through_a_proxy_leaks_nothing(
    authority: CertificateAuthority, way: str, over_tcp: bool
) -> None:
    """At every checkpoint of the dial and of the request, for each kind of proxy; all streams of the client's end."""

    async def scenario(sweep: SweepRun) -> None:
        network = Network()
        logins = {b"u": b"p"} if way == "socks login" else {}
        proxy = SocksProxy(network, logins) if "socks" in way else HttpProxy(network)
        over_tls = "over tls" in way
        scheme = "socks5h" if "socks" in way else "https" if over_tls else "http"
        tls = authority.client_context()
        at = Proxy(f"{scheme}://u:p@scripted.test:3128", tls=tls if over_tls else None)
        url = PLAIN if "forward" in way else SERVER
        async with AsyncExitStack() as stack:
            front = await stack.enter_async_context(open_scripted(proxy, tls=authority if over_tls else None))
            secure = await stack.enter_async_context(open_scripted(answer, tls=authority))
            network.servers = {"scripted.test:3128": front, "scripted.test:443": secure}
            limits = ClientLimits(connections=1)
            connect = await stack.enter_async_context(open_tcp(front)) if over_tcp else network.connect
            async with Client(proxies=at, connect=connect, tls=tls, limits=limits) as client:
                with sweep.block():
                    await client.get(url)
                statistics = client.pool.statistics()
                assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0), statistics
                assert statistics.connections == statistics.idle
                assert (await client.get(url)).content == b"ok"
                ends = network.ends.get("scripted.test:3128", [])
                assert over_tcp or [end.closed for end in ends].count(False) == 1
            assert all(end.closed for end in ends)

    report = cancel_sweep(scenario, virtual_time=not over_tcp)
    assert report.cancelled >= (4 if way == "forward" else 8)


class Failing(DialObserver):
    """Writes down the steps of a dial and fails at one of them."""

    __slots__ = ("fails_at", "steps")

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at = fails_at
        self.steps: list[str] = []

    def _step(self, step: str) -> None:
        self.steps.append(step)
        if step == self.fails_at:
            raise ZeroDivisionError

    def dial_started(self, destination: Destination) -> None:
        self._step(f"to {destination}")

    def connected(self, stream: trio.abc.Stream) -> None:
        self._step("connected")

    def tunnel_opened(self, code: int | None) -> None:
        self._step(f"tunnel {code}")

    def tls_done(self, stream: trio.SSLStream[trio.abc.Stream]) -> None:
        self._step("tls")


STEPS = ["to https://scripted.test:443", "connected", "tunnel 200", "tls"]


@pytest.mark.parametrize("fails_at", ["", *STEPS])
async def test_whoever_watches_a_dial_hears_of_its_steps(authority: CertificateAuthority, fails_at: str) -> None:
    """In their order; what it raises at one of them ends the dial, and no socket is left."""
    network = Network()
    async with open_scripted(HttpProxy(network)) as front, open_scripted(answer, tls=authority) as secure:
        network.servers = {"scripted.test:443": secure}
        async with open_tcp(front) as connect:
            client = Client(proxies="http://proxy.test", connect=connect, tls=authority.client_context())
            shared, observer = client._shared, Failing(fails_at)
            destination = shared.routes.destination(URL(SERVER))
            if fails_at:
                with pytest.raises(ZeroDivisionError):
                    await shared.dialer.dial(destination, observer)
                assert observer.steps == STEPS[: STEPS.index(fails_at) + 1]
            else:
                (await shared.dialer.dial(destination, observer)).close()
                assert observer.steps == STEPS
