"""SOCKS5 proxies: names and addresses, logging in, and what may come instead of what the protocol says."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from proxying import OK, Network, Resolver, SocksProxy

from triohttp import Client, ClientLimits, ClientTimeouts, Proxies, Proxy
from triohttp.errors import ConnectError, ConnectTimeout, ProxyError
from triohttp.testing import CertificateAuthority, RawConnection, open_scripted

AT = "socks.test:1080"


async def answer(connection: RawConnection) -> None:
    """Answer everything."""
    while True:
        await connection.read_request()
        await connection.send_all(OK)


@asynccontextmanager
async def open_socks(
    authority: CertificateAuthority, proxy: SocksProxy, at: str | Proxy = f"socks5h://{AT}"
) -> AsyncIterator[Client]:
    """Open a client whose requests go through ``proxy``, a plain and a secure site behind it."""
    network = proxy.network
    async with (
        open_scripted(proxy) as front,
        open_scripted(answer) as plain,
        open_scripted(answer, tls=authority) as secure,
    ):
        network.servers = {AT: front, "scripted.test:443": secure}
        network.servers.update({f"{host}:80": plain for host in ("plain.test", "192.0.2.7", "2001:db8::7")})
        async with Client(proxies=at, connect=network.connect, tls=authority.client_context()) as client:
            yield client


@pytest.mark.parametrize("dribble", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(
    "bound",
    [
        b"\x01\x7f\x00\x00\x01\x12\x34",
        b"\x04" + bytes(16) + b"\x12\x34",
        b"\x03\x05\xff\xfe\x00\r\n\x12\x34",
        b"\x03\x00\x12\x34",
    ],
    ids=["ipv4", "ipv6", "odd name", "empty name"],
)
async def test_what_follows_the_reply_belongs_to_the_server(
    authority: CertificateAuthority, bound: bytes, dribble: bool
) -> None:
    """The reply is read to its exact length, whatever address it has and however it comes."""
    proxy = SocksProxy(Network(), bound=bound, dribble=dribble)
    async with open_socks(authority, proxy) as client:
        for url in ("http://plain.test/", "https://scripted.test/") * 2:
            assert (await client.get(url)).content == b"ok"
        assert client.pool.statistics().opened == 2
    assert sorted(proxy.targets) == [(3, "plain.test", 80), (3, "scripted.test", 443)]
    assert proxy.network.asked.count(AT) == 2


@pytest.mark.parametrize(
    ("scheme", "host", "target"),
    [
        ("socks5h", "plain.test", (3, "plain.test", 80)),
        ("socks5h", "192.0.2.7", (1, "192.0.2.7", 80)),
        ("socks5h", "[2001:db8::7]", (4, "2001:db8::7", 80)),
        ("socks5", "plain.test", (1, "192.0.2.7", 80)),
        ("socks5", "192.0.2.7", (1, "192.0.2.7", 80)),
        ("socks5", "[2001:db8::7]", (4, "2001:db8::7", 80)),
    ],
)
async def test_who_resolves_names(
    authority: CertificateAuthority, scheme: str, host: str, target: tuple[int, str, int]
) -> None:
    """``socks5h`` leaves names to the proxy; ``socks5`` resolves them here. Addresses are addresses."""
    resolver = Resolver(plain_test=["192.0.2.7"])
    trio.socket.set_custom_hostname_resolver(resolver)
    proxy = SocksProxy(Network())
    async with open_socks(authority, proxy, f"{scheme}://{AT}") as client:
        assert (await client.get(f"http://{host}/")).content == b"ok"
    assert proxy.targets == [target]
    assert resolver.asked == (["plain.test"] if scheme == "socks5" and host == "plain.test" else [])


@pytest.mark.parametrize(
    "resolved",
    [{"plain.test": "192.0.2.7"}, {"plain.test:80": ["192.0.2.7", "192.0.2.8"]}, {"other.test": "192.0.2.9"}],
)
async def test_names_that_this_program_resolves_itself(
    authority: CertificateAuthority, resolved: dict[str, str | list[str]]
) -> None:
    """``resolve`` counts for what is resolved here; what it does not name the system resolves."""
    trio.socket.set_custom_hostname_resolver(Resolver(plain_test=["192.0.2.7"]))
    proxy = SocksProxy(Network())
    async with open_socks(authority, proxy):
        async with Client(proxies=f"socks5://{AT}", connect=proxy.network.connect, resolve=resolved) as client:
            await client.get("http://plain.test/")
    assert proxy.targets == [(1, "192.0.2.7", 80)]


async def test_a_name_that_cannot_be_resolved(authority: CertificateAuthority) -> None:
    """It is ConnectError, and nothing was asked of the proxy."""
    trio.socket.set_custom_hostname_resolver(Resolver())
    proxy = SocksProxy(Network())
    async with open_socks(authority, proxy, f"socks5://{AT}") as client:
        with pytest.raises(ConnectError, match=r"nowhere\.test.*not known"):
            await client.get("http://nowhere.test/")
    assert proxy.methods == []


@pytest.mark.parametrize(
    ("at", "offered"),
    [
        (Proxy(f"socks5h://{AT}", credentials=("us:er", "pässword")), b"\x00\x02"),
        (f"socks5h://us%3Aer:p%C3%A4ssword@{AT}", b"\x00\x02"),
    ],
)
async def test_logging_in(authority: CertificateAuthority, at: str | Proxy, offered: bytes) -> None:
    """User name and password, from the URL or beside it, are given to a proxy that asks (RFC 1929)."""
    proxy = SocksProxy(Network(), {b"us:er": "pässword".encode()}, dribble=True)
    async with open_socks(authority, proxy, at) as client:
        assert (await client.get("http://plain.test/")).content == b"ok"
    assert proxy.methods == [offered]


async def test_credentials_that_nobody_asks_for(authority: CertificateAuthority) -> None:
    """A proxy that wants none gets none."""
    proxy = SocksProxy(Network())
    async with open_socks(authority, proxy, f"socks5h://user:secret@{AT}") as client:
        assert (await client.get("http://plain.test/")).content == b"ok"


@pytest.mark.parametrize(("userinfo", "message"), [("", "credentials="), ("user:wrong@", "does not take these")])
async def test_credentials_that_are_missing_or_wrong(
    authority: CertificateAuthority, userinfo: str, message: str
) -> None:
    """ProxyError says which it is, and does not show them."""
    proxy = SocksProxy(Network(), {b"user": b"right"})
    async with open_socks(authority, proxy, f"socks5h://{userinfo}{AT}") as client:
        with pytest.raises(ProxyError, match=message) as caught:
            await client.get("http://plain.test/")
        assert "wrong" not in str(caught.value)
        assert client.pool.statistics().connections == 0
    assert proxy.targets == []


GREETED = b"\x05\x00"


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([GREETED, b"\x05\x01\x00\x01" + bytes(6)], "general failure"),
        ([GREETED, b"\x05\x02\x00\x01" + bytes(6)], "not allowed by its rules"),
        ([GREETED, b"\x05\x04\x00"], "closed"),
        ([GREETED, b"\x05\x05\x00\x01"], r"'plain\.test':80: connection refused"),
        ([GREETED, b"\x05\x63\x00\x01"], "error 99"),
        ([GREETED, b"\x05\x00\x00\x02" + bytes(6)], "no kind of address"),
        ([GREETED, b"\x05\x00\x00\x01\x00"], "closed"),
        ([GREETED, b"\x04\x00\x00\x01" + bytes(6)], "does not speak SOCKS5"),
        ([GREETED], "closed"),
        ([b"\x05\xff"], "another way to log in"),
        ([b"\x05\x01"], "GSSAPI"),
        ([b"\x05\x80"], "does not speak SOCKS5"),
        ([b"\x04\x00"], "does not speak SOCKS5"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "does not speak SOCKS5"),
        ([b"\x05\x02", b"\x01\x05"], "does not take"),
        ([b"\x05\x02", b"\x01"], "closed"),
        ([b"\x05"], "closed"),
        ([], "closed"),
    ],
)
async def test_what_a_proxy_says_instead(authority: CertificateAuthority, replies: list[bytes], message: str) -> None:
    """Refusals are told in words, anything else is no SOCKS5; each is ProxyError, and no slot is lost."""

    async def script(connection: RawConnection) -> None:
        for reply in replies:
            await connection.receive_some()
            await connection.send_all(reply)

    network = Network()
    async with open_scripted(script) as front:
        network.servers = {AT: front}
        limits = ClientLimits(connections=1)
        async with Client(proxies=f"socks5h://u:p@{AT}", connect=network.connect, limits=limits) as client:
            for _ in range(2):
                with pytest.raises(ProxyError, match=message):
                    await client.get("http://plain.test/")
            assert client.pool.statistics().connections == 0


async def test_a_proxy_that_resets(authority: CertificateAuthority) -> None:
    """A reset in the middle is ProxyError, like an end."""

    async def script(connection: RawConnection) -> None:
        await connection.receive_some()
        connection.reset()

    network = Network()
    async with open_scripted(script) as front:
        network.servers = {AT: front}
        async with Client(proxies=f"socks5h://{AT}", connect=network.connect) as client:
            with pytest.raises(ProxyError, match="closed"):
                await client.get("http://plain.test/")


async def test_a_proxy_that_says_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """The deadline of the dial holds in the middle of SOCKS too."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until_closed()

    network = Network()
    async with open_scripted(script) as front:
        network.servers = {AT: front}
        timeouts = ClientTimeouts(connect_seconds=3)
        async with Client(proxies=f"socks5h://{AT}", connect=network.connect, timeouts=timeouts) as client:
            with pytest.raises(ConnectTimeout, match=r"socks5h://socks\.test:1080 opened no way"):
                await client.get("http://plain.test/")
            assert client.pool.statistics().connections == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Proxy(f"socks5://{AT}"),
        lambda: Client(proxies=f"socks5h://{AT}"),
        lambda: Proxies({"https": f"socks5://{AT}"}),
    ],
)
def test_without_the_package(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Awaitable[object]]) -> None:
    """Without socksio a proxy of this kind cannot even be made; the error names the extra."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.delitem(sys.modules, "triohttp.integrations.socks", raising=False)
    with pytest.raises(ImportError, match=r"triohttp\[socks\]"):
        make()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"credentials": ("x" * 256, "")}, "255"),
        ({"credentials": ("", "ä" * 128)}, "255"),
        ({"headers": {"X": "y"}}, "no header fields"),
    ],
)
def test_what_socks_cannot_say(arguments: dict[str, object], message: str) -> None:
    """What does not fit into the protocol is refused when the proxy is made."""
    with pytest.raises(ValueError, match=message):
        Proxy(f"socks5h://{AT}", **arguments)  # type: ignore[arg-type]  # several kinds in one table
