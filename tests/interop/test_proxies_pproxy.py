"""The client through pproxy, a proxy that this project did not write: forwarding, tunnels and SOCKS5."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from triohttp import App, Client, ClientTimeouts, Proxy, Request, Response
from triohttp.errors import ConnectError, ProxyError
from triohttp.testing import CertificateAuthority

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(sys.version_info >= (3, 14), reason="pproxy asks for an event loop where there is none"),
]

SCHEMES = ["http", "socks5", "socks5h"]
CONTENT = bytes(range(256)) * 4000


class At:
    """A proxy behind a Unix socket, so that no port has to be guessed; whatever host is asked for, this is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = 0

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """Open a connection."""
        self.opened += 1
        return await trio.open_unix_socket(self.path)


@asynccontextmanager
async def open_pproxy(
    programs: Programs, *options: str, login: str = "", protocols: str = "http+socks5"
) -> AsyncIterator[At]:
    """Have pproxy run beside the block."""
    programs.need_python_package("pproxy")
    path = programs.directory / "proxy.sock"
    uri = f"{protocols}://{path}{f'#{login}' if login else ''}"
    # As a module and not as a script, without a buffer: its first line is heard when it listens.
    async with programs.beside(sys.executable, "-u", "-W", "ignore", "-m", "pproxy", "-l", uri, *options):
        yield At(path)


app = App()


@app.get("/")
async def index(request: Request) -> Response:
    """Say what came."""
    return Response.json(
        {
            "host": request.headers["host"],
            "proxy": [name for name, _ in request.headers.items() if "proxy" in name.lower()],
        }
    )


@app.post("/")
async def upload(request: Request) -> Response:
    """Give back what came."""
    return Response(await request.read())


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("login", ["", "user:p@ss"], ids=["open", "login"])
async def test_through_a_real_proxy(
    programs: Programs, open_site: OpenSite, authority: CertificateAuthority, scheme: str, secure: bool, login: str
) -> None:
    """Requests with and without content arrive, on one connection, and nothing of the proxy's reaches the server."""
    tls = authority.server_context("localhost") if secure else None
    username, _, password = login.partition(":")
    proxy = Proxy(f"{scheme}://proxy.test", credentials=(username, password) if login else None)
    async with open_site(app, tls=tls) as server, open_pproxy(programs, "--auth", "0", login=login) as at:
        port = server.port
        url = f"{'https' if secure else 'http'}://localhost:{port}/"
        async with Client(proxies=proxy, connect=at.connect, tls=authority.client_context()) as client:
            for _ in range(2):
                told = (await client.get(url)).json()
                assert told["host"] == f"localhost:{port}"
                assert "proxy-authorization" not in map(str.lower, told["proxy"])
            assert (await client.post(url, content=CONTENT)).content == CONTENT
            assert (await client.post(url, content=[CONTENT[:1000]] * 30)).content == CONTENT[:1000] * 30
            if secure or scheme != "http":
                assert at.opened == 1


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_without_the_credentials_that_it_wants(programs: Programs, scheme: str) -> None:
    """ProxyError, before anything was sent to a server."""
    async with open_pproxy(programs, "--auth", "0", login="user:secret") as at:
        for userinfo in ("", "user:wrong@"):
            timeouts = ClientTimeouts(connect_seconds=5)
            async with Client(
                proxies=f"{scheme}://{userinfo}proxy.test", connect=at.connect, timeouts=timeouts
            ) as client:
                with pytest.raises(ProxyError):
                    await client.get("https://localhost:1/")
                assert client.pool.statistics().connections == 0


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_server_that_is_not_there(programs: Programs, scheme: str) -> None:
    """What the proxy makes of that ends the dial, be it by what it says or by what it closes."""
    async with open_pproxy(programs) as at:
        async with Client(proxies=f"{scheme}://proxy.test", connect=at.connect) as client:
            with pytest.raises(ConnectError):
                await client.get("https://127.0.0.1:1/")
            assert client.pool.statistics().connections == 0


async def test_a_proxy_behind_tls(
    programs: Programs, open_site: OpenSite, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """TLS to the proxy, and in it TLS to the server."""
    theirs = trustme.CA()
    theirs.issue_cert("proxy.test").private_key_and_cert_chain_pem.write_to_path(tmp_path / "proxy.pem")
    context = authority.client_context()
    theirs.configure_trust(context)
    options = ("--ssl", str(tmp_path / "proxy.pem"))
    async with open_site(app, tls=authority.server_context("localhost")) as server:
        async with open_pproxy(programs, *options, protocols="http+ssl") as at:
            port = server.port
            proxy = Proxy("https://proxy.test", tls=context)
            async with Client(proxies=proxy, connect=at.connect, tls=authority.client_context()) as client:
                assert (await client.post(f"https://localhost:{port}/", content=CONTENT)).content == CONTENT
                assert (await client.get(f"https://localhost:{port}/")).status == 200
                assert at.opened == 1


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_websocket_through_a_real_proxy(programs: Programs, open_site: OpenSite, scheme: str) -> None:
    """A tunnel carries it, without TLS too."""
    site = App()

    @site.get("/echo")
    async def echo(request: Request) -> None:
        async with request.websocket() as websocket:
            async for message in websocket:
                await websocket.send(message)

    async with open_site(site) as server, open_pproxy(programs) as at:
        port = server.port
        async with Client(proxies=f"{scheme}://proxy.test", connect=at.connect) as client:
            async with client.websocket(f"ws://127.0.0.1:{port}/echo") as websocket:
                await websocket.send("hello")
                assert await websocket.receive() == "hello"
