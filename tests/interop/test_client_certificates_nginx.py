"""Client certificates as nginx sees them: who a client is, in one name and in another, with TLS 1.2 and 1.3."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from triohttp import Certificate, Client, UnixOrigin

if TYPE_CHECKING:
    from conftest import Programs

pytestmark = pytest.mark.interop

URL = "https://nginx.test/"
CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {root}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    server {{
        listen unix:{root}/secure.sock ssl;
        server_name nginx.test;
        ssl_protocols {version};
        ssl_certificate {root}/server.pem;
        ssl_certificate_key {root}/server.pem;
        ssl_client_certificate {root}/clients.pem;
        ssl_verify_client on;
        location / {{ return 200 "$ssl_client_verify $ssl_client_serial $ssl_server_name $ssl_protocol"; }}
    }}
}}
"""


@asynccontextmanager
async def open_nginx(programs: Programs, version: str) -> AsyncIterator[Path]:
    """Have nginx run beside the block, which gets the directory with its socket and all certificates."""
    root = programs.directory
    clients, servers, strangers = trustme.CA(), trustme.CA(), trustme.CA()
    clients.cert_pem.write_to_path(root / "clients.pem")
    servers.cert_pem.write_to_path(root / "ca.pem")
    servers.issue_cert("nginx.test").private_key_and_cert_chain_pem.write_to_path(root / "server.pem")
    clients.issue_cert("me@clients.test").private_key_and_cert_chain_pem.write_to_path(root / "me.pem")
    strangers.issue_cert("me@clients.test").private_key_and_cert_chain_pem.write_to_path(root / "stranger.pem")
    user = "user root;" if os.geteuid() == 0 else ""  # else the worker could not open the socket here
    (root / "nginx.conf").write_text(CONFIGURATION.format(root=root, user=user, version=version))
    async with programs.beside("nginx", "-p", root, "-c", root / "nginx.conf", "-e", "stderr"):
        yield root


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_nginx_knows_who_we_are(programs: Programs, version: str) -> None:
    """A certificate of its clients' authority is taken, on a connection that is used again."""
    async with open_nginx(programs, version) as root:
        mounts = {URL: UnixOrigin(root / "secure.sock")}
        async with Client(mounts=mounts, ca=root / "ca.pem", certificate=Certificate(root / "me.pem")) as client:
            for _ in range(3):
                verdict, serial, name, protocol = (await client.get(URL)).text.split()
                assert (verdict, name, protocol) == ("SUCCESS", "nginx.test", version)
                assert serial
            assert client.pool.statistics().opened == 1


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("file", [None, "stranger.pem"], ids=["nobody", "a stranger"])
async def test_nginx_refuses_others(programs: Programs, version: str, file: str | None) -> None:
    """Without a certificate, or with one of another authority, it answers 400."""
    async with open_nginx(programs, version) as root:
        certificate = None if file is None else Certificate(root / file)
        mounts = {URL: UnixOrigin(root / "secure.sock")}
        async with Client(mounts=mounts, ca=root / "ca.pem", certificate=certificate) as client:
            assert (await client.get(URL)).status == 400
