"""Who a client is, whom it trusts when it is told not to verify, and certificates that are pinned."""

from __future__ import annotations

import hashlib
import logging
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from proxying import OK, HttpProxy, Network

from triohttp import Certificate, Client, ClientLimits
from triohttp.errors import TLSError, TransportError
from triohttp.testing import CertificateAuthority, RawConnection, ScriptedServer, open_scripted

URL = "https://scripted.test/"


class Asking(CertificateAuthority):
    """Its servers ask clients who they are, and write down what they say."""

    def __init__(self, clients: trustme.CA, *, required: bool) -> None:
        super().__init__()
        self.clients = clients
        self.required = required

    def server_context(self, host: str) -> ssl.SSLContext:
        context = super().server_context(host)
        self.clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED if self.required else ssl.CERT_OPTIONAL
        return context


class Site:
    """Answers everything; ``names`` is who asked, None for nobody in particular."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self.location = b""

    async def __call__(self, connection: RawConnection) -> None:
        assert isinstance(connection.stream, trio.SSLStream)
        try:
            while True:
                request = await connection.read_request()
                shown: dict[str, Any] = connection.stream.getpeercert() or {}
                self.names.append(shown["subjectAltName"][0][1] if shown else None)
                if request.target == "/elsewhere":
                    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + self.location
                    await connection.send_all(head + b"\r\n\r\n")
                else:
                    await connection.send_all(OK)
        except trio.BrokenResourceError:
            pass  # it did not say who it is


@pytest.fixture(scope="module")
def clients() -> trustme.CA:
    """Who says who clients are."""
    return trustme.CA()


@pytest.fixture(scope="module")
def files(clients: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a client's certificate and key, together, apart, and with the key encrypted."""
    root = tmp_path_factory.mktemp("certificates")
    issued = clients.issue_cert("me@clients.test")
    issued.private_key_and_cert_chain_pem.write_to_path(root / "both.pem")
    issued.private_key_pem.write_to_path(root / "key.pem")
    issued.cert_chain_pems[0].write_to_path(root / "cert.pem")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (root / "locked.pem").write_bytes(locked)
    return root


@asynccontextmanager
async def open_asking(
    clients: trustme.CA, site: Site, *, required: bool = True
) -> AsyncIterator[tuple[Asking, ScriptedServer]]:
    authority = Asking(clients, required=required)
    async with open_scripted(site, tls=authority) as server:
        yield authority, server


def ca_file(authority: CertificateAuthority, directory: Path) -> Path:
    path = directory / "ca.pem"
    path.write_bytes(authority.pem)
    return path


@pytest.mark.parametrize(
    ("cert", "key", "password"),
    [("both.pem", None, None), ("cert.pem", "key.pem", None), ("cert.pem", "locked.pem", "secret")],
)
async def test_a_client_says_who_it_is(
    clients: trustme.CA, files: Path, tmp_path: Path, cert: str, key: str | None, password: str | None
) -> None:
    """With a certificate and its key in one file, in two, and with the key encrypted."""
    site = Site()
    certificate = Certificate(files / cert, None if key is None else files / key, password)
    assert "secret" not in repr(certificate)
    async with open_asking(clients, site) as (authority, server):
        options: dict[str, Any] = {"mounts": {URL: server}, "ca": ca_file(authority, tmp_path)}
        async with Client(certificate=certificate, **options) as client:
            for _ in range(2):
                assert (await client.get(URL)).content == b"ok"
    assert site.names == ["me@clients.test"] * 2


async def test_a_client_that_does_not_say_who_it_is(clients: trustme.CA, tmp_path: Path) -> None:
    """The server refuses; with TLS 1.3 that is heard only after the handshake."""
    site = Site()
    async with open_asking(clients, site) as (authority, server):
        async with Client(mounts={URL: server}, ca=ca_file(authority, tmp_path)) as client:
            with pytest.raises(TransportError):
                await client.get(URL)
            assert client.pool.statistics().connections == 0
    assert site.names == []


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_key_that_cannot_be_read(files: Path, password: str | None) -> None:
    """It is an error, and never a question on the terminal."""
    certificate = Certificate(files / "cert.pem", files / "locked.pem", password)
    async with Client(certificate=certificate) as client:
        with pytest.raises(ssl.SSLError):
            await client.get(URL)
        assert client.pool.statistics().connections == 0


async def test_a_redirect_from_elsewhere_is_not_told_who_we_are(
    clients: trustme.CA, files: Path, tmp_path: Path
) -> None:
    """Once a call has crossed an origin no certificate is shown, at home either; the next call is known again."""
    here, there = Site(), Site()
    here.location, there.location = b"https://there.test/elsewhere", URL.encode()

    class Two(Asking):
        def server_context(self, host: str) -> ssl.SSLContext:
            context = super().server_context(host)
            self._authority.issue_cert("scripted.test", "there.test").configure_cert(context)
            return context

    authority = Two(clients, required=False)
    async with open_scripted(here, tls=authority) as one, open_scripted(there, tls=authority) as other:
        mounts = {URL: one, "https://there.test": other}
        certificate = Certificate(files / "both.pem")
        async with Client(mounts=mounts, ca=ca_file(authority, tmp_path), certificate=certificate) as client:
            await client.get(URL)
            await client.get(f"{URL}elsewhere")
            await client.get(URL)
    assert here.names == ["me@clients.test", "me@clients.test", None, "me@clients.test"]
    assert there.names == [None]


async def test_a_proxy_is_not_told_who_we_are(clients: trustme.CA, files: Path, tmp_path: Path) -> None:
    """In a tunnel the certificate is the server's to see, and not that of an https proxy in front of it."""
    site = Site()
    proxy = HttpProxy(Network())
    seen: list[bool] = []

    async def front(connection: RawConnection) -> None:
        assert isinstance(connection.stream, trio.SSLStream)
        await connection.stream.do_handshake()
        seen.append(bool(connection.stream.getpeercert()))
        await proxy(connection)

    async with open_asking(clients, site, required=False) as (authority, server):
        async with open_scripted(front, tls=authority) as at:
            proxy.network.servers = {"scripted.test:443": server, "scripted.test:3128": at}
            options: dict[str, Any] = {"connect": proxy.network.connect, "ca": ca_file(authority, tmp_path)}
            certificate = Certificate(files / "both.pem")
            async with Client(proxies="https://scripted.test:3128", certificate=certificate, **options) as client:
                assert (await client.get(URL)).content == b"ok"
    assert site.names == ["me@clients.test"]
    assert seen == [False]


# -- whom it trusts ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_a_directory_of_authorities(authority: CertificateAuthority, tmp_path: Path) -> None:
    """``ca`` may be one, with the names that ``openssl rehash`` gives; what is not in there is not trusted."""
    ca_file(authority, tmp_path)
    (tmp_path / "empty").mkdir()
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
    async with open_scripted(Site(), tls=authority) as server:
        async with Client(mounts={URL: server}, ca=tmp_path) as client:
            assert (await client.get(URL)).status == 200
        async with Client(mounts={URL: server}, ca=tmp_path / "empty") as client:
            with pytest.raises(TLSError):
                await client.get(URL)


async def test_verification_off_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown authority and a wrong name are taken, with one warning a client; other clients verify as ever."""
    stranger = CertificateAuthority()
    async with open_scripted(Site(), tls=stranger) as server:
        mounts = {"https://wrong.test": server}
        with caplog.at_level(logging.WARNING, "triohttp.client"):
            async with Client(mounts=mounts, verify=False) as client:
                for _ in range(2):
                    assert (await client.get("https://wrong.test/")).status == 200
                derived = client.derive(headers={"X": "y"})
                assert (await derived.get("https://wrong.test/")).status == 200
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        async with Client(mounts=mounts) as client:
            with pytest.raises(TLSError):
                await client.get("https://wrong.test/")


# -- pins --------------------------------------------------------------------------------------------------------------


def fingerprint(authority: CertificateAuthority, *, colons: bool = False) -> str:
    """Return the SHA-256 of the certificate of ``scripted.test``, as openssl writes it with colons."""
    context = authority.server_context("scripted.test")
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(ours, theirs, server_side=True)
    client = authority.client_context().wrap_bio(theirs, ours, server_hostname="scripted.test")
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    digest = hashlib.sha256(client.getpeercert(binary_form=True) or b"").hexdigest()
    return digest.upper() if not colons else ":".join(digest[at : at + 2] for at in range(0, 64, 2))


@pytest.mark.parametrize("colons", [False, True])
@pytest.mark.parametrize("verify", [True, False])
async def test_a_pinned_certificate(
    authority: CertificateAuthority, tmp_path: Path, verify: bool, colons: bool
) -> None:
    """The right one is taken, with verification and instead of it; several may be named."""
    pins = {"SCRIPTED.test": ["0" * 64, fingerprint(authority, colons=colons)], "other.test": "1" * 64}
    async with open_scripted(Site(), tls=authority) as server:
        options: dict[str, Any] = {"ca": ca_file(authority, tmp_path)} if verify else {"verify": False}
        async with Client(mounts={URL: server}, pins=pins, **options) as client:
            assert (await client.get(URL)).content == b"ok"


@pytest.mark.parametrize("verify", [True, False])
async def test_another_certificate_than_the_pinned_one(
    authority: CertificateAuthority, tmp_path: Path, verify: bool
) -> None:
    """TLSError says which was seen; not a byte of the request was sent, and no slot is lost."""
    site = Site()
    async with open_scripted(site, tls=authority) as server:
        options: dict[str, Any] = {"ca": ca_file(authority, tmp_path)} if verify else {"verify": False}
        limits = ClientLimits(connections=1)
        async with Client(mounts={URL: server}, pins={"scripted.test": "0" * 64}, limits=limits, **options) as client:
            for _ in range(2):
                with pytest.raises(TLSError, match=fingerprint(authority).lower()) as caught:
                    await client.get(URL)
                assert not caught.value.sent
            assert client.pool.statistics().connections == 0
    assert site.names == []


async def test_a_pin_does_not_replace_verification(authority: CertificateAuthority) -> None:
    """Both have to hold, unless verification was switched off."""
    async with open_scripted(Site(), tls=authority) as server:
        async with Client(mounts={URL: server}, pins={"scripted.test": fingerprint(authority)}) as client:
            with pytest.raises(TLSError, match="certificate"):
                await client.get(URL)


async def test_pins_hold_in_a_tunnel_and_for_the_proxy(authority: CertificateAuthority, tmp_path: Path) -> None:
    """A host's pin counts wherever there is TLS with it."""
    proxy = HttpProxy(Network())
    ca = ca_file(authority, tmp_path)
    async with open_scripted(Site(), tls=authority) as server, open_scripted(proxy) as front:
        proxy.network.servers = {"scripted.test:443": server, "proxy.test:80": front, "scripted.test:3128": server}
        for at, pin, good in [
            ("http://proxy.test", fingerprint(authority), True),
            ("http://proxy.test", "0" * 64, False),
            ("https://scripted.test:3128", "0" * 64, False),
        ]:
            options: dict[str, Any] = {"connect": proxy.network.connect, "pins": {"scripted.test": pin}}
            async with Client(proxies=at, ca=ca, **options) as client:
                if good:
                    assert (await client.get(URL)).content == b"ok"
                else:
                    with pytest.raises(TLSError, match="pinned"):
                        await client.get(URL if at.startswith("http:") else "http://plain.test/")


@pytest.mark.parametrize(
    "pins",
    [
        {"scripted.test": "abc"},
        {"scripted.test": "sha256/" + "A" * 43 + "="},
        {"scripted.test": []},
        {"scripted.test:443": "0" * 64},
        {URL: "0" * 64},
    ],
)
def test_what_is_no_pin(pins: dict[str, str | list[str]]) -> None:
    """It is told when the client is made, and not when it is too late."""
    with pytest.raises(ValueError):
        Client(pins=pins)


@pytest.mark.parametrize(
    "options",
    [{"ca": "/nowhere.pem"}, {"verify": False}, {"certificate": "both.pem"}],
    ids=["ca", "verify", "certificate"],
)
def test_a_context_says_everything_itself(files: Path, options: dict[str, Any]) -> None:
    """What it would be contradicted by is refused beside it."""
    if "certificate" in options:
        options = {"certificate": Certificate(files / options["certificate"])}
    with pytest.raises(TypeError, match="either tls"):
        Client(tls=ssl.create_default_context(), **options)
