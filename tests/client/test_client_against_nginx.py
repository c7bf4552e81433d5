"""The client against nginx, over real sockets: an implementation of HTTP that this project did not write."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from triohttp import Client, ClientLimits

PLAIN = "http://nginx.test"
SECURE = "https://nginx.test"
BIG = bytes(range(256)) * 40_000

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]

CONFIGURATION = """
{user}
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    keepalive_requests 5;
    server {{
        listen unix:{root}/plain.sock;
        client_max_body_size 100k;
        default_type text/plain;
        location = /hello {{ return 200 "hello\\n"; }}
        location = /nothing {{ return 204; }}
        location = /moved {{ return 302 /hello; }}
        location /files/ {{ alias {root}/files/; }}
        location /upload {{ proxy_pass http://unix:{root}/plain.sock:/sink; }}
        location = /sink {{ return 200 "$content_length $http_transfer_encoding"; }}
    }}
    server {{
        listen unix:{root}/secure.sock ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {root}/certificate.pem;
        ssl_certificate_key {root}/certificate.pem;
        location = /hello {{ return 200 "$ssl_protocol"; }}
    }}
}}
"""


class UnixSocket:
    """An origin behind a Unix socket, so that no port has to be guessed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def connect(self) -> trio.abc.Stream:
        return await trio.open_unix_socket(str(self._path))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run nginx; its directory has the sockets, the files that it serves, and the authority of its certificate."""
    root = tmp_path_factory.mktemp("nginx")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(root / "ca.pem")
    certificate = authority.issue_cert("nginx.test")
    certificate.private_key_and_cert_chain_pem.write_to_path(root / "certificate.pem")
    (root / "files").mkdir()
    (root / "files" / "big").write_bytes(BIG)
    configuration = root / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # else the worker could not read the files here
    configuration.write_text(CONFIGURATION.format(root=root, user=user))
    command = [NGINX, "-p", str(root), "-c", str(configuration), "-e", str(root / "start.log")]
    subprocess.run(command, check=True)  # goes on in the background once it listens
    try:
        yield root
    finally:
        subprocess.run([*command, "-s", "stop"], check=True)


@asynccontextmanager
async def open_client(root: Path) -> AsyncIterator[Client]:
    mounts = {PLAIN: UnixSocket(root / "plain.sock"), SECURE: UnixSocket(root / "secure.sock")}
    async with Client(mounts=mounts, mounts_only=True, ca=root / "ca.pem") as client:
        yield client


async def test_connections_are_kept_as_long_as_nginx_keeps_them(root: Path) -> None:
    """nginx ends a connection after five requests; the sixth goes out on another."""
    async with open_client(root) as client:
        for _ in range(12):
            response = await client.get(f"{PLAIN}/hello")
            assert (response.status, response.text) == (200, "hello\n")
        statistics = client.pool.statistics()
        assert (statistics.opened, statistics.reused, statistics.idle) == (3, 9, 1)


async def test_what_has_no_content(root: Path) -> None:
    """HEAD, 204 and 304 leave the connection usable."""
    async with open_client(root) as client:
        head = await client.head(f"{PLAIN}/files/big")
        assert head.headers["content-length"] == str(len(BIG))
        assert (await client.get(f"{PLAIN}/nothing")).status == 204
        condition = {"If-None-Match": head.headers["etag"]}
        assert (await client.get(f"{PLAIN}/files/big", headers=condition)).status == 304
        assert client.pool.statistics().opened == 1


async def test_a_redirect_is_followed(root: Path) -> None:
    """A 302 leads to the place it names, over the same connection; it is an answer like any other where one asks."""
    async with open_client(root) as client:
        response = await client.get(f"{PLAIN}/moved")
        assert [one.status for one in (*response.history, response)] == [302, 200]
        assert response.url.path == "/hello"
        assert client.pool.statistics().opened == 1
        response = await client.get(f"{PLAIN}/moved", redirects=False)
        assert response.status == 302
        assert response.headers["location"].endswith("/hello")


async def test_a_large_file(root: Path) -> None:
    """Ten megabytes arrive, at once and piece by piece; a range is what was asked for."""
    async with open_client(root) as client:
        assert (await client.get(f"{PLAIN}/files/big")).content == BIG
        async with client.stream("GET", f"{PLAIN}/files/big") as response:
            received = 0
            async for piece in response.body:
                assert piece == BIG[received : received + len(piece)]
                received += len(piece)
        assert received == len(BIG)
        part = await client.get(f"{PLAIN}/files/big", headers={"Range": "bytes=256-511"})
        assert (part.status, part.content) == (206, bytes(range(256)))


async def test_content_of_both_framings(root: Path) -> None:
    """Content with a length and chunked content are understood."""
    async with open_client(root) as client:
        assert (await client.post(f"{PLAIN}/upload", content=b"x" * 70_000)).text == "70000 "
        assert (await client.post(f"{PLAIN}/upload", content=[b"x" * 100] * 30)).text.startswith("3000")
        assert (await client.post(f"{PLAIN}/upload", content=b"x" * 500, expect_continue=True)).text == "500 "


@pytest.mark.parametrize("expect_continue", [False, True])
async def test_a_refused_upload_is_heard(root: Path, expect_continue: bool) -> None:
    """nginx answers 413 and closes while the upload goes on; the answer arrives."""
    async with open_client(root) as client:
        content = b"x" * 5_000_000
        response = await client.post(f"{PLAIN}/upload", content=content, expect_continue=expect_continue)
        assert response.status == 413
        assert client.pool.statistics().connections == 0


async def test_over_tls(root: Path) -> None:
    """TLS 1.3 with a name, an authority of one's own, and reuse in spite of session tickets that come late."""
    async with open_client(root) as client:
        for _ in range(3):
            assert (await client.get(f"{SECURE}/hello")).text == "TLSv1.3"
        assert client.pool.statistics().opened == 1


async def test_many_at_once(root: Path) -> None:
    """A hundred requests share ten connections; none is lost and none gets another's answer."""
    mounts = {PLAIN: UnixSocket(root / "plain.sock")}
    limits = ClientLimits(connections_per_origin=10)
    ranges: list[int] = []
    async with Client(mounts=mounts, limits=limits) as client, trio.open_nursery() as nursery:

        async def fetch(number: int) -> None:
            headers = {"Range": f"bytes={number}-{number + 9}"}
            response = await client.get(f"{PLAIN}/files/big", headers=headers)
            assert response.content == BIG[number : number + 10]
            ranges.append(number)

        for number in range(100):
            nursery.start_soon(fetch, number)
    assert sorted(ranges) == list(range(100))
