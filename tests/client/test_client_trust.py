"""Whom a client trusts by itself, and what that costs: the system's authorities are read once a process."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trustme

from triohttp import Certificate, Client
from triohttp._client import tls
from triohttp.errors import TLSError
from triohttp.testing import CertificateAuthority, RawConnection, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answer(connection: RawConnection) -> None:
    """Answer one request."""
    await connection.read_request()
    await connection.send_all(OK)
    await connection.read_until_closed()


@pytest.fixture
def fresh() -> Iterator[None]:
    """Forget the system's context before the test and after it."""
    tls.system_context.cache_clear()
    yield
    tls.system_context.cache_clear()


@pytest.mark.usefixtures("fresh")
async def test_the_systems_authorities_are_trusted_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a second connection nor a second client reads them again: that would stop everybody for 30 ms."""
    authority = CertificateAuthority()
    file = tmp_path / "system.pem"
    file.write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    async with open_scripted(answer, tls=authority) as server:
        async with Client(mounts={server.url: server}) as client:
            assert (await client.get(server.url)).status == 200
        file.unlink()
        async with Client(mounts={server.url: server}) as client:
            for _ in range(2):
                assert (await client.get(server.url, headers={"Connection": "close"})).status == 200


@pytest.mark.usefixtures("fresh")
async def test_nobody_else_is_trusted() -> None:
    """An authority that the system does not know vouches for nobody."""
    async with open_scripted(answer, tls=CertificateAuthority()) as server:
        async with Client(mounts={server.url: server}) as client:
            with pytest.raises(TLSError, match=r"unable to get|self.signed"):
                await client.get(server.url)


@pytest.mark.parametrize("make", [lambda path: Client(ca=path), lambda path: Client(certificate=Certificate(path))])
def test_files_that_are_not_there(tmp_path: Path, make: Callable[[Path], Client]) -> None:
    """The error names the file, when the client is made."""
    with pytest.raises(FileNotFoundError, match=r"none\.pem"):
        make(tmp_path / "none.pem")


async def test_a_certificate_that_has_expired() -> None:
    """TLSError says so."""
    authority = trustme.CA()
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = authority.issue_cert("scripted.test", not_before=past, not_after=past + dt.timedelta(days=1))
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    certificate.configure_cert(theirs)
    authority.configure_trust(ours)

    class Expired(CertificateAuthority):
        def server_context(self, *names: str) -> ssl.SSLContext:
            return theirs

    async with open_scripted(answer, tls=Expired()) as server, Client(mounts={server.url: server}, tls=ours) as client:
        with pytest.raises(TLSError, match="expired"):
            await client.get(server.url)


async def test_a_server_without_tls_is_told_from_a_wrong_certificate() -> None:
    """https to a port where nobody speaks TLS: the error asks that question, OpenSSL's own words are about versions."""

    async def answer_plainly(connection: RawConnection) -> None:
        await connection.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    async with open_scripted(answer_plainly) as server:
        async with Client(mounts={"https://scripted.test": server}) as client:
            with pytest.raises(TLSError, match="does the server speak TLS"):
                await client.get("https://scripted.test/")
