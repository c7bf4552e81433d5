"""nginx as the clients' peer: one process in the foreground, with a configuration of its own in a temporary folder.

``/hello/…`` is a fixed answer for which no file is touched; ``/download/100-mb`` is a file of as many bytes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .processes import LOAD_CORE, free_port, running

__all__ = ["DOWNLOAD_BYTES", "DOWNLOAD_TARGET", "serving_nginx"]

DOWNLOAD_BYTES = 100_000_000
DOWNLOAD_TARGET = "/download/100-mb"

_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /download/ {{ root {folder}; default_type application/octet-stream; }}
        location / {{ default_type text/plain; return 200 "Hello, world!"; }}
    }}
}}
"""


@contextmanager
def serving_nginx() -> Iterator[int]:
    """Run nginx for the length of the block, and give its port."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise SystemExit("bench: nginx is needed as the client's peer (apt-get install nginx)")
    with tempfile.TemporaryDirectory(prefix="triohttp-bench-") as folder:
        port = free_port()
        configuration = Path(folder) / "nginx.conf"
        file = Path(folder + DOWNLOAD_TARGET)
        file.parent.mkdir()
        with file.open("wb") as content:
            content.truncate(DOWNLOAD_BYTES)  # zeros that take no room: what is read is memory all the same
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=port))
        with running([nginx, "-e", "stderr", "-p", folder, "-c", str(configuration)], port, core=LOAD_CORE):
            yield port
