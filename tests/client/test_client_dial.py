"""Opening connections: over TCP and TLS and to mounts; what fails says why and leaves nothing open."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

import triohttp
from triohttp import Client
from triohttp._client.origin import Mounts
from triohttp.errors import ConnectError, InvalidURLError, RemoteProtocolError, TLSError, TransportError
from triohttp.testing import CertificateAuthority, RawConnection, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def open_tcp(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answer every request on a port of this machine, which is the value of the block."""

    async def answer(stream: trio.abc.Stream) -> None:
        if context is not None:
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            async with RawConnection(stream) as connection:
                while True:
                    await connection.read_request()
                    await connection.send_all(OK)
        except (trio.BrokenResourceError, TransportError, RemoteProtocolError):
            pass  # the client has left, or spoke TLS to a plain port

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_over_tcp() -> None:
    """The plain case, with a name that has addresses of two families, of which one answers."""
    async with open_tcp() as port, Client() as client:
        for host in ("127.0.0.1", "localhost"):
            for _ in range(2):
                assert (await client.get(f"http://{host}:{port}/")).content == b"ok"
        statistics = client.pool.statistics()
        assert (statistics.opened, statistics.reused) == (2, 2)


async def test_over_tls() -> None:
    """With the authority in a context, the handshake is made once a connection."""
    authority = CertificateAuthority()
    async with open_tcp(authority.server_context("localhost")) as port:
        async with Client(tls=authority.client_context()) as client:
            for _ in range(2):
                assert (await client.get(f"https://localhost:{port}/")).content == b"ok"
            assert client.pool.statistics().opened == 1


async def test_an_authority_from_a_file(tmp_path: Path) -> None:
    """``ca`` names a file of authorities that are trusted instead of the system's; nothing else is."""
    authority = CertificateAuthority()
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.pem)
    async with open_tcp(authority.server_context("localhost")) as port:
        async with Client(ca=file) as client:
            assert (await client.get(f"https://localhost:{port}/")).content == b"ok"
        response = await triohttp.get(f"https://localhost:{port}/", ca=file)
        assert response.content == b"ok"


@pytest.mark.parametrize(
    ("host", "trusted", "reason"), [("localhost", False, "certificate"), ("other.test", True, "localhost")]
)
async def test_a_server_that_cannot_be_verified(host: str, trusted: bool, reason: str) -> None:
    """An unknown authority and a certificate for another name are TLSError with the reason; nothing was sent."""
    authority = CertificateAuthority()
    context = authority.client_context() if trusted else None
    async with open_tcp(authority.server_context(host)) as port, Client(tls=context) as client:
        with pytest.raises(TLSError, match=reason) as caught:
            await client.get(f"https://localhost:{port}/")
        assert isinstance(caught.value, ConnectError)
        assert caught.value.phase == "tls"
        assert not caught.value.sent
        assert client.pool.statistics().connections == 0


async def test_a_server_without_tls() -> None:
    """https to a plain port is TLSError, not a hang and not a broken answer."""
    async with open_tcp() as port, Client() as client:
        with pytest.raises(TLSError):
            await client.get(f"https://127.0.0.1:{port}/")


async def test_a_server_that_closes_during_the_handshake() -> None:
    """The end of the stream in the middle of the handshake is TLSError."""

    async def script(connection: RawConnection) -> None:
        await connection.receive_some()

    async with open_scripted(script) as server, Client(mounts={"https://scripted.test": server}) as client:
        with pytest.raises(TLSError):
            await client.get("https://scripted.test/")


async def test_a_port_where_nobody_listens() -> None:
    """ConnectError names the destination and has the system's error as its cause; it is safe to try again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        port = taken.getsockname()[1]
        async with Client() as client:
            with pytest.raises(ConnectError, match=f"http://127.0.0.1:{port}") as caught:
                await client.get(f"http://127.0.0.1:{port}/")
            assert isinstance(caught.value.__cause__, OSError)
            assert (caught.value.phase, caught.value.sent, caught.value.safe_to_retry) == ("connect", False, True)
            assert client.pool.statistics().connections == 0


async def test_a_name_without_an_address() -> None:
    """A name that cannot be resolved is ConnectError."""

    class Nowhere(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            await trio.lowlevel.checkpoint()
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise AssertionError("not asked for")

    trio.socket.set_custom_hostname_resolver(Nowhere())
    async with Client() as client:
        with pytest.raises(ConnectError, match="not known"):
            await client.get("http://nowhere.test/")


async def test_a_dial_that_is_cancelled_closes_its_stream() -> None:
    """A handshake that is interrupted leaves no stream open."""
    async with open_scripted(lambda connection: trio.sleep_forever()) as server:
        async with Client(mounts={"https://scripted.test": server}) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, "https://scripted.test/")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert client.pool.statistics().connections == 0
            connection = server.connections[0]
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await connection.send_all(b"is anybody there?")


def test_tls_and_ca_exclude_each_other() -> None:
    """A context says itself whom to trust."""
    with pytest.raises(TypeError, match="either tls"):
        Client(tls=ssl.create_default_context(), ca="/nowhere.pem")


async def test_one_shots_of_the_module() -> None:
    """Each function opens a client, makes one request and closes it."""
    async with open_tcp() as port:
        url = f"http://127.0.0.1:{port}/"
        for verb in (triohttp.get, triohttp.options, triohttp.delete):
            assert (await verb(url, params={"a": 1})).content == b"ok"
        assert (await triohttp.head(url)).content == b""
        for verb in (triohttp.post, triohttp.put, triohttp.patch):
            assert (await verb(url, json=None)).content == b"ok"
        assert (await triohttp.request("REPORT", url, limits=triohttp.ClientLimits(max_body_bytes=2))).status == 200


# -- mounts ------------------------------------------------------------------------------------------------------------


class Nobody:
    """An origin that is never asked."""

    async def connect(self) -> trio.abc.Stream:
        raise AssertionError("nobody connects here")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://app.test/", "http://app.test"),
        ("http://app.test/other?x", "http://app.test"),
        ("http://app.test/api", "http://app.test/api"),
        ("http://app.test/api/v1/x", "http://app.test/api/v1"),
        ("http://app.test/apix", "http://app.test"),
        ("http://app.test:8080/", ""),
        ("https://app.test/", ""),
        ("http://other.test/api", ""),
    ],
)
def test_the_longest_mount_counts(url: str, expected: str) -> None:
    """A mount matches its own origin and whole segments of its path."""
    keys = ["http://app.test", "http://app.test/api/v1/", "http://app.test:80/api"]
    assert Mounts({key: Nobody() for key in keys}, only=False).find(triohttp.URL(url)) == expected


def test_a_mount_is_an_origin_with_or_without_a_path() -> None:
    """Anything else as a key, and two keys that mean the same, are mistakes."""
    for key in ("http://app.test/?q", "http://app.test/#f", "http://u@app.test/"):
        with pytest.raises(ValueError, match="origin"):
            Mounts({key: Nobody()}, only=False)
    with pytest.raises(InvalidURLError):
        Mounts({"app.test": Nobody()}, only=False)
    with pytest.raises(ValueError, match="two mounts"):
        Mounts({"http://app.test": Nobody(), "http://APP.test:80/": Nobody()}, only=False)


async def test_only_mounts() -> None:
    """With ``mounts_only`` nothing reaches the network."""
    async with Client(mounts={"http://app.test": Nobody()}, mounts_only=True) as client:
        with pytest.raises(ConnectError, match="nothing else may be reached"):
            await client.get("http://127.0.0.1:9/")


async def test_tls_to_a_mount() -> None:
    """An https mount opens plain streams; the client puts TLS on top, for the mount's name."""
    authority = CertificateAuthority()

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send_all(OK)

    async with (
        open_scripted(script, tls=authority) as server,
        Client(mounts={server.url: server}, tls=authority.client_context()) as client,
    ):
        for _ in range(2):
            assert (await client.get(server.url)).content == b"ok"
        assert len(server.connections) == 1


async def test_a_dial_that_is_cancelled_raises_no_group() -> None:
    """The nursery in which addresses are tried is nobody's business: what comes out is Cancelled itself."""
    raised: list[BaseException] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        with socket.socket() as first, socket.socket() as second:
            for waiting in (first, second):
                waiting.setblocking(False)
                waiting.connect_ex(("127.0.0.1", port))
            async with Client() as client:
                with trio.move_on_after(0.1):
                    try:
                        await client.get(f"http://127.0.0.1:{port}/")
                    except BaseException as exc:
                        raised.append(exc)
                        raise
    assert [type(one) for one in raised] == [trio.Cancelled]
