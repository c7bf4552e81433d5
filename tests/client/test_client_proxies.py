"""HTTP proxies: what they are told, what they may say to it, and what of it reaches whom."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
import trio
import trio.testing
from proxying import ESTABLISHED, OK, HttpProxy, Network, send

from triohttp import Client, ClientLimits, ClientTimeouts, Proxies, Proxy
from triohttp._client.options import ClientOptions
from triohttp.errors import ConnectError, ConnectTimeout, ProxyError, TLSError
from triohttp.testing import CertificateAuthority, RawConnection, RawRequest, open_scripted

Script: TypeAlias = Callable[[RawConnection], Awaitable[object]]
PROXY = "http://proxy.test:3128"
SERVER = "https://scripted.test/"
CREDENTIALS = "Basic " + base64.b64encode(b"user:p@ss").decode()


class Site:
    """A server that answers everything and writes down what it was asked."""

    def __init__(self) -> None:
        self.requests: list[RawRequest] = []
        self.connections = 0

    async def __call__(self, connection: RawConnection) -> None:
        self.connections += 1
        while True:
            self.requests.append(await connection.read_request())
            await connection.send_all(OK)


@asynccontextmanager
async def open_proxied(
    authority: CertificateAuthority,
    proxy: HttpProxy,
    *,
    site: Script | None = None,
    proxy_tls: bool = False,
) -> AsyncIterator[None]:
    """Have a proxy at ``proxy.test:3128`` (``scripted.test:3128`` with TLS), and two sites behind it, one with TLS."""
    answer = Site() if site is None else site
    async with (
        open_scripted(answer, tls=authority) as secure,
        open_scripted(answer) as plain,
        open_scripted(proxy, tls=authority if proxy_tls else None) as front,
    ):
        proxy.network.servers = {
            "scripted.test:443": secure,
            "plain.test:80": plain,
            "[::1]:80": plain,
            ("scripted.test:3128" if proxy_tls else "proxy.test:3128"): front,
        }
        yield


def client_options(authority: CertificateAuthority, proxy: HttpProxy, at: str | Proxy = PROXY) -> ClientOptions:
    return {"proxies": at, "connect": proxy.network.connect, "tls": authority.client_context()}


# -- what a proxy is told ----------------------------------------------------------------------------------------------


async def test_plain_requests_are_forwarded(authority: CertificateAuthority) -> None:
    """The proxy gets the whole URL, the server's Host and its own credentials, on one connection for all of them."""
    proxy = HttpProxy(Network())
    at = Proxy("http://user:p%40ss@proxy.test:3128", headers={"X-Client": "7"})
    async with open_proxied(authority, proxy), Client(**client_options(authority, proxy, at)) as client:
        for _ in range(2):
            response = await client.get("http://plain.test/a?b=c", headers={"X-Client": "mine"})
            assert response.content == b"ok"
            assert "proxy-authorization" not in response.request.headers
            assert response.request.headers["x-client"] == "mine"
        statistics = client.pool.statistics()
        assert (statistics.opened, statistics.reused) == (1, 1)
    request = proxy.requests[1]
    assert request.target == "http://plain.test/a?b=c"
    assert request.headers["host"] == "plain.test"
    assert request.headers.get_all("proxy-authorization") == [CREDENTIALS]
    assert request.headers.get_all("x-client") == ["7"]
    assert proxy.network.asked == ["proxy.test:3128"]


async def test_content_is_forwarded_in_both_framings(authority: CertificateAuthority) -> None:
    """Bytes and an iterable arrive at the proxy as they would at the server."""
    proxy = HttpProxy(Network())
    async with open_proxied(authority, proxy), Client(**client_options(authority, proxy)) as client:
        await client.post("http://plain.test/", content=b"whole")
        await client.post("http://plain.test/", content=[b"in", b"pieces"])
    assert [request.content for request in proxy.requests] == [b"whole", b"inpieces"]
    assert {request.target for request in proxy.requests} == {"http://plain.test/"}


async def test_secure_requests_go_through_a_tunnel(authority: CertificateAuthority) -> None:
    """One CONNECT and one handshake serve many requests; the proxy's credentials never reach the server."""
    proxy, site = HttpProxy(Network()), Site()
    at = Proxy(PROXY, credentials=("user", "p@ss"), headers={"X-Client": "7"})
    async with open_proxied(authority, proxy, site=site):
        async with Client(**client_options(authority, proxy, at)) as client:
            for _ in range(2):
                assert (await client.get(SERVER)).content == b"ok"
            assert client.pool.statistics().opened == 1
            assert client.pool.statistics().origins["https://scripted.test:443"].idle == 1
    [connect] = proxy.requests
    assert (connect.method, connect.target, connect.version) == ("CONNECT", "scripted.test:443", "1.1")
    assert sorted((name.lower(), value) for name, value in connect.headers.items()) == [
        ("host", "scripted.test:443"),
        ("proxy-authorization", CREDENTIALS),
        ("x-client", "7"),
    ]
    assert site.connections == 1
    for request in site.requests:
        assert request.target == "/"
        assert "proxy-authorization" not in request.headers
        assert "x-client" not in request.headers


async def test_an_address_of_six_in_a_tunnel(authority: CertificateAuthority) -> None:
    """The authority of a CONNECT has its brackets."""
    proxy = HttpProxy(Network())
    async with open_proxied(authority, proxy), Client(**client_options(authority, proxy)) as client:
        with pytest.raises(ProxyError):  # nobody is there
            await client.get("https://[::1]:8443/")
    assert proxy.requests[0].target == "[::1]:8443"


async def test_the_server_sees_its_own_name_in_a_tunnel(authority: CertificateAuthority) -> None:
    """SNI and ALPN in the tunnel are for the server, whatever the proxy is called."""
    seen: list[tuple[str | None, str | None]] = []
    context = authority.server_context("scripted.test")

    async def site(connection: RawConnection) -> None:
        await connection.read_request()
        assert isinstance(connection.stream, trio.SSLStream)
        seen.append((names[-1], connection.stream.selected_alpn_protocol()))
        await connection.send_all(OK)

    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    try:
        proxy = HttpProxy(Network())
        async with open_proxied(authority, proxy, site=site), Client(**client_options(authority, proxy)) as client:
            await client.get(SERVER)
    finally:
        context.sni_callback = None
    assert seen == [("scripted.test", "http/1.1")]


async def test_a_proxy_behind_tls(authority: CertificateAuthority) -> None:
    """An https proxy is spoken to over TLS, forwarding and tunnelling; in the tunnel there is TLS once more."""
    proxy = HttpProxy(Network())
    at = Proxy("https://u:p@scripted.test:3128", tls=authority.client_context())
    async with open_proxied(authority, proxy, proxy_tls=True):
        async with Client(**client_options(authority, proxy, at)) as client:
            for _ in range(2):
                assert (await client.get(SERVER)).content == b"ok"
                assert (await client.get("http://plain.test/")).content == b"ok"
            assert client.pool.statistics().opened == 2
    assert [request.target for request in proxy.requests].count("scripted.test:443") == 1


async def test_a_proxy_is_verified_in_any_case(authority: CertificateAuthority) -> None:
    """A client that does not verify servers still wants to know who gets the proxy's credentials."""
    proxy = HttpProxy(Network())
    async with open_proxied(authority, proxy, proxy_tls=True):
        options: ClientOptions = {"proxies": "https://u:p@scripted.test:3128", "connect": proxy.network.connect}
        async with Client(verify=False, **options) as client:
            with pytest.raises(TLSError):
                await client.get("http://plain.test/")
    assert proxy.requests == []


async def test_an_upgrade_goes_through_a_tunnel(authority: CertificateAuthority) -> None:
    """A forwarding proxy understands nothing but HTTP, so what is to become something else gets a tunnel."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

    async def site(connection: RawConnection) -> None:
        request = await connection.read_request()
        assert request.target == "/echo"
        await connection.send_all(switch)
        await connection.send_all(await connection.read_exactly(5))

    proxy = HttpProxy(Network())
    async with open_proxied(authority, proxy, site=site), Client(**client_options(authority, proxy)) as client:
        async with client.upgrade("echo", "http://plain.test/echo") as upgraded:
            await upgraded.stream.send_all(b"hello")
            assert await upgraded.stream.receive_some() == b"hello"
    assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", "plain.test:80")]


async def test_redirects_across_origins_keep_the_proxy_and_its_credentials(authority: CertificateAuthority) -> None:
    """The proxy's credentials belong to the proxy, wherever requests lead; no server sees them."""
    requests: list[RawRequest] = []

    async def front(connection: RawConnection) -> None:
        while True:
            requests.append(await connection.read_request())
            location = b"http://b.test/" if requests[-1].target == "http://a.test/" else b""
            head = b"HTTP/1.1 302 Found\r\nLocation: " + location if location else b"HTTP/1.1 200 OK"
            await connection.send_all(head + b"\r\nContent-Length: 0\r\n\r\n")

    network = Network()
    async with open_scripted(front) as server:
        network.servers = {"proxy.test:80": server}
        async with Client(proxies="http://user:p%40ss@proxy.test", connect=network.connect) as client:
            assert (await client.get("http://a.test/")).status == 200
    assert [request.target for request in requests] == ["http://a.test/", "http://b.test/"]
    assert [request.headers["proxy-authorization"] for request in requests] == [CREDENTIALS] * 2


async def test_each_way_has_its_own_connections(authority: CertificateAuthority) -> None:
    """A connection through a proxy serves no request that goes another way, be it with another user's credentials."""
    proxy = HttpProxy(Network())
    options = client_options(authority, proxy)
    async with open_proxied(authority, proxy), Client(**options) as client:
        ways = [
            PROXY,
            "http://proxy.test:3128/",
            "http://one@proxy.test:3128",
            "http://two@proxy.test:3128",
            Proxy(PROXY, headers={"X-Tenant": "1"}),
            None,
        ]
        for way in ways:
            await client.get("http://plain.test/", proxy=way)
        assert client.pool.statistics().opened == 5  # the second is the first in another spelling
        assert client.pool.statistics().connections == 5


async def test_what_needs_no_proxy_gets_none(authority: CertificateAuthority) -> None:
    """Mounts, hosts of ``no_proxy`` and patterns for None are reached directly."""
    proxy = HttpProxy(Network())
    options = client_options(authority, proxy)
    options["proxies"] = Proxies({"all": PROXY, "https": None}, no_proxy="plain.test")
    async with open_proxied(authority, proxy), open_scripted(Site()) as mounted:
        async with Client(mounts={"http://mounted.test": mounted}, **options) as client:
            for url in ("http://mounted.test/", "http://plain.test/", SERVER):
                assert (await client.get(url)).content == b"ok"
    assert proxy.network.asked == ["plain.test:80", "scripted.test:443"]
    assert proxy.requests == []


# -- what a proxy may say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dribble", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(
    "established",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
        b"HTTP/1.1 299 \r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_a_tunnel_is_open_after_any_2xx(
    authority: CertificateAuthority, established: bytes, dribble: bool
) -> None:
    """Framing fields of a 2xx mean nothing, and interim answers may come before (RFC 9110 §9.3.6)."""
    proxy = HttpProxy(Network(), established, dribble)
    async with open_proxied(authority, proxy), Client(**client_options(authority, proxy)) as client:
        for _ in range(2):
            assert (await client.get(SERVER)).content == b"ok"
        assert client.pool.statistics().opened == 1


def answering(data: bytes, *, then_silent: bool = False) -> Script:
    """Return a script that says that to a CONNECT."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(data)
        if then_silent:
            await connection.read_until_closed()

    return script


@asynccontextmanager
async def open_with_proxy(authority: CertificateAuthority, script: Script, proxy: str = PROXY) -> AsyncIterator[Client]:
    """Open a client of one connection, all of whose requests go through a proxy that does as ``script`` says."""
    network = Network()
    async with open_scripted(script) as front:
        network.servers = {"proxy.test:3128": front}
        limits = ClientLimits(connections=1)
        timeouts = ClientTimeouts(connect_seconds=5)
        options: ClientOptions = {"tls": authority.client_context(), "connect": network.connect}
        async with Client(proxies=proxy, limits=limits, timeouts=timeouts, **options) as client:
            yield client
            assert client.pool.statistics().connections == 0


REFUSALS = [
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nnot allowed\n", 403, b"not allowed\n", "403 Forbidden"),
    (
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n<h1>no</h1>\nmore",
        502,
        b"<h1>no</h1>\nmore",
        "502 Bad Gateway: '<h1>no</h1>'\n",
    ),
    (b"HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\nContent-Length: 0\r\n\r\n", 302, b"", "302 Found\n"),
    (b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", 407, b"", "407 .*credentials="),
    (b"HTTP/1.1 500 X\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000, 500, b"x" * 65536, "500 .*xxx"),
    (b"HTTP/1.1 500 X\r\nContent-Length: 50\r\n\r\nhalf", 500, b"half", "500 .*half"),
    (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nnonsense", 500, b"ok", "500 .*ok"),
]


@pytest.mark.parametrize(("answer", "code", "content", "message"), REFUSALS, ids=[str(one[1]) for one in REFUSALS])
async def test_a_tunnel_that_is_refused(
    authority: CertificateAuthority, answer: bytes, code: int, content: bytes, message: str
) -> None:
    """ProxyError has the status and what was said about it; nothing was sent to a server, and no slot is lost."""
    async with open_with_proxy(authority, answering(answer)) as client:
        for _ in range(2):
            with pytest.raises(ProxyError, match=message) as caught:
                await client.get(SERVER)
            error = caught.value
            assert (error.code, error.content, error.phase, error.sent) == (code, content, "proxy", False)
            assert isinstance(error, ConnectError)
            assert "http://proxy.test:3128" in str(error)


async def test_a_refusal_whose_content_does_not_come(
    authority: CertificateAuthority, autojump_clock: trio.testing.MockClock
) -> None:
    """The status counts: what was to be said about it is waited for, but not for long."""
    answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nso"
    async with open_with_proxy(authority, answering(answer, then_silent=True)) as client:
        with pytest.raises(ProxyError, match="503") as caught:
            await client.get(SERVER)
        assert caught.value.content == b"so"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ESTABLISHED + b"SSH-2.0-early\r\n", "15 bytes before"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 Connec", "opened no tunnel"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "opened no tunnel"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "opened no tunnel"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "101"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "max_interim_responses"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", "opened no tunnel"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 5000 + b"\r\n", "opened no tunnel"),
    ],
    ids=["early", "nothing", "cut", "ssh", "tls", "101", "interim", "long line", "many lines"],
)
async def test_a_proxy_that_talks_nonsense(authority: CertificateAuthority, answer: bytes, message: str) -> None:
    """Whatever is no answer to CONNECT is ProxyError; nothing of it is taken for the server's."""
    async with open_with_proxy(authority, answering(answer)) as client:
        with pytest.raises(ProxyError, match=message) as caught:
            await client.get(SERVER)
        assert caught.value.code is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [(b"", "the proxy http://proxy.test:3128 opened no way"), (ESTABLISHED, "the TLS handshake was not over")],
)
async def test_one_deadline_for_the_whole_way(
    authority: CertificateAuthority, autojump_clock: trio.testing.MockClock, answer: bytes, message: str
) -> None:
    """``connect_seconds`` bounds proxy and handshake together; the error says how far it came."""
    async with open_with_proxy(authority, answering(answer, then_silent=True)) as client:
        start = trio.current_time()
        with pytest.raises(ConnectTimeout, match=message):
            await client.get(SERVER)
        assert trio.current_time() - start == pytest.approx(5.0)


async def test_a_proxy_that_is_not_there(authority: CertificateAuthority) -> None:
    """ProxyError names the proxy, without its secrets, and has the system's error as its cause."""
    async with open_with_proxy(authority, answering(b""), "http://user:secret@gone.test:1") as client:
        for url in (SERVER, "http://plain.test/"):
            with pytest.raises(ProxyError, match=r"the proxy http://gone\.test:1 .*refused") as caught:
                await client.get(url)
            assert isinstance(caught.value.__cause__, OSError)
            assert "secret" not in str(caught.value)


async def test_a_server_behind_a_tunnel_that_cannot_be_verified(authority: CertificateAuthority) -> None:
    """A proxy that answers in the server's place is found out."""
    proxy = HttpProxy(Network())
    async with open_proxied(CertificateAuthority(), proxy), Client(**client_options(authority, proxy)) as client:
        with pytest.raises(TLSError, match=r"scripted\.test"):
            await client.get(SERVER)
        assert client.pool.statistics().connections == 0


@pytest.mark.parametrize("url", [SERVER, "http://plain.test/"])
async def test_an_answer_of_the_proxys_own_to_what_it_forwards(authority: CertificateAuthority, url: str) -> None:
    """407 to a forwarded request is an answer; to CONNECT it is an error."""
    answer = b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with open_with_proxy(authority, answering(answer)) as client:
        if url == SERVER:
            with pytest.raises(ProxyError):
                await client.get(url)
        else:
            assert (await client.get(url)).status == 407


async def test_a_tunnel_that_ended_while_idle_is_not_used_again(authority: CertificateAuthority) -> None:
    """The end of an idle connection is heard through the tunnel: a POST, which is never repeated, is not lost."""
    answered = trio.Event()

    async def site(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send_all(OK)
        await answered.wait()

    proxy = HttpProxy(Network())
    options = client_options(authority, proxy)
    async with open_proxied(authority, proxy, site=site), Client(**options) as client:
        assert (await client.post(SERVER, content=b"1")).content == b"ok"
        assert client.pool.statistics().idle == 1
        answered.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.post(SERVER, content=b"2")).content == b"ok"
        assert client.pool.statistics().opened == 2


async def test_bytes_dribble_through_nested_tls(authority: CertificateAuthority) -> None:
    """Half a megabyte arrives whole through TLS in TLS."""
    data = bytes(range(256)) * 2000

    async def site(connection: RawConnection) -> None:
        request = await connection.read_request()
        assert request.content == data
        await send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data, dribble=False)

    proxy = HttpProxy(Network())
    at = Proxy("https://scripted.test:3128", tls=authority.client_context())
    async with open_proxied(authority, proxy, site=site, proxy_tls=True):
        async with Client(**client_options(authority, proxy, at)) as client:
            assert (await client.put(SERVER, content=data)).content == data
