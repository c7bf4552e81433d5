"""uvicorn with the h11 parser on asyncio's own loop, serving a bare ASGI callable; no access log."""

from __future__ import annotations

import sys

import uvicorn
from asgi_bare import app

if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), http="h11", loop="asyncio", lifespan="off", access_log=False, log_level="warning"
    )
