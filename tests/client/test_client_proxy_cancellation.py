"""Cancelling on the way through a proxy: no slot is lost, no stream stays open, and the next request is right."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from proxying import OK, HttpProxy, Network, SocksProxy

from triohttp import Client, ClientLimits, Proxy
from triohttp.testing import CertificateAuthority, RawConnection, SweepRun, cancel_sweep, open_scripted

pytestmark = pytest.mark.sweep

SERVER = "https://scripted.test/"
PLAIN = "http://plain.test/"


async def answer(connection: RawConnection) -> None:
    """Answer everything."""
    while True:
        await connection.read_request()
        await connection.send_all(OK)


@pytest.mark.wall_seconds(120)
@pytest.mark.parametrize("way", ["forward", "forward over tls", "connect", "connect over tls", "socks", "socks login"])
def test_cancelling_on_the_way_through_a_proxy_leaks_nothing(authority: CertificateAuthority, way: str) -> None:
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
            async with Client(proxies=at, connect=network.connect, tls=tls, limits=limits) as client:
                with sweep.block():
                    await client.get(url)
                statistics = client.pool.statistics()
                assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0), statistics
                assert statistics.connections == statistics.idle
                assert (await client.get(url)).content == b"ok"
                assert [end.closed for end in network.ends["scripted.test:3128"]].count(False) == 1
            assert all(end.closed for end in network.ends["scripted.test:3128"])

    report = cancel_sweep(scenario)
    assert report.cancelled >= (4 if way == "forward" else 8)
