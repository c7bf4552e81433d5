"""hypercorn on trio, serving Starlette; no access log (its default)."""

from __future__ import annotations

import sys

import trio
from asgi_starlette import app
from hypercorn.config import Config
from hypercorn.trio import serve

if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.loglevel = "WARNING"
    trio.run(serve, app, config)  # type: ignore[arg-type]  # hypercorn describes ASGI more narrowly than Starlette
