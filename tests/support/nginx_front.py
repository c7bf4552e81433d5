"""nginx in front of a server, and a client of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from triohttp import App, Client, Server

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

URL = "http://nginx.test"
CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {root}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    upstream ours {{
        server 127.0.0.1:{port};
        keepalive 8;
    }}
    map $http_upgrade $onward {{ default upgrade; "" ""; }}
    server {{
        listen unix:{root}/front.sock;
        client_max_body_size 0;
        proxy_http_version 1.1;
        proxy_set_header Connection $onward;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Host $host;
        proxy_next_upstream off;
        location / {{
            proxy_pass http://ours;
            proxy_request_buffering off;
            proxy_buffering off;
        }}
        location /collected/ {{ proxy_pass http://ours/; }}
    }}
}}
"""


class Front:
    """nginx, as an origin of a client."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def connect(self) -> trio.abc.Stream:
        return await trio.open_unix_socket(str(self._path))


@asynccontextmanager
async def behind_nginx(app: App, programs: Programs, open_site: OpenSite) -> AsyncIterator[tuple[Client, Server]]:
    """A client of nginx, and the server behind it."""
    root = programs.directory
    user = "user root;" if os.geteuid() == 0 else ""  # else the worker could not write its temporary files here
    async with open_site(app) as server:
        configuration = root / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(root=root, user=user, port=server.port))
        mounts = {URL: Front(root / "front.sock")}
        arguments = ("-p", root, "-c", configuration, "-e", "stderr")
        async with programs.beside("nginx", *arguments), Client(URL, mounts=mounts) as client:
            yield client, server
